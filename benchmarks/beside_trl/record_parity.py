"""Records one update of TRL 1.12's PPOTrainer for tests/laws/test_trl_parity.py; runs where that version is installed.

    python -m benchmarks.beside_trl.record_parity

A policy near a tiny random Llama, its reference, and a critic far from it learn for two epochs of one mini-batch: four
prompts of different lengths with two responses each. What the trainer makes is taken from its own functions: what it
sampled and scored, its advantages, and of both epochs the weights before, losses and gradients.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}

import torch
import transformers
import trl
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from tests.support.tiny import tiny_llama

FIXTURE = Path(__file__).resolve().parents[2] / "tests" / "laws" / "data" / "trl-1.12-update.safetensors"
VOCABULARY, WIDTH, LAYERS = 64, 16, 2
PAD = VOCABULARY
"""TRL masks every token that equals the pad; the model cannot draw one beyond its vocabulary."""

PROMPTS, RESPONSES, NEW_TOKENS = ((5, 9, 2), (7, 7, 1, 40, 33), (12, 3, 60, 8, 8, 21, 30, 4, 2), (50, 51)), 2, 12
RATE, KL_WEIGHT, TEMPERATURE = 0.006, 0.2, 0.7


@torch.no_grad()
def shaken(model, seed, spread):
    """Move all weights by seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.parameters():
        part += spread * torch.randn(part.shape, generator=generator)
    return model


def judge(seed):
    """Return a tiny model that says a number at every token."""
    config = copy.deepcopy(tiny_llama(VOCABULARY, LAYERS, WIDTH).config)
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).eval()
    model.score = torch.nn.Linear(WIDTH, 1)
    return shaken(model, seed, 0.2)


def tokenizer():
    """Return what the trainer pads prompts with; it reads and writes no text."""
    words = {str(number): number for number in range(VOCABULARY)} | {"pad": PAD}
    made = Tokenizer(models.WordLevel(words, unk_token="0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="pad", eos_token="pad", padding_side="left")


class Recorder:
    """Takes what the trainer's functions are given and return, by name."""

    def __init__(self, trainer):
        self.trainer, self.found, self.means = trainer, {}, []
        self.epoch = 0
        self.listen(ppo_trainer, "batch_generation", self.sampled)
        self.listen(ppo_trainer, "selective_log_softmax", self.logprobs)
        self.listen(ppo_trainer, "get_reward", self.rewarded)
        self.listen(ppo_trainer, "masked_whiten", self.whitened)
        self.listen(ppo_trainer, "masked_mean", lambda mean, *_: self.means.append(mean.detach().clone()))
        self.listen(trainer.accelerator, "backward", self.gone_back)

    def listen(self, owner, name, hear):
        """Call `hear` with what a function returned and was given."""
        plain = getattr(owner, name)

        def heard(*given, **named):
            result = plain(*given, **named)
            hear(result, *given)
            return result

        setattr(owner, name, heard)

    def keep(self, **tensors):
        """Keep copies, the first of a name."""
        for name, tensor in tensors.items():
            self.found.setdefault(name, tensor.detach().clone().contiguous())

    def sampled(self, made, _model, queries, *_):
        rows, self.context = made[0], queries.shape[1]
        self.keep(prompt_lengths=(queries != PAD).sum(1), tokens=rows[rows != PAD])
        assert not (rows[:, self.context :] == PAD).any()

    def logprobs(self, found, *_):
        self.keep(**{"old_logprobs" if "old_logprobs" not in self.found else "reference_logprobs": found})

    def rewarded(self, found, model, *_):
        if model is self.trainer.reward_model:
            self.keep(scores=found[1])
        else:
            self.keep(values=found[0][:, self.context - 1 : -1].squeeze(-1))

    def whitened(self, white, raw, *_):
        self.keep(advantages=white, raw_advantages=raw)

    def gone_back(self, _result, loss):
        """Keep losses, weights and gradients; the third last of the means is the value's, the last the policy's."""
        value, policy = 0.5 * self.means[-3], self.means[-1]
        assert torch.allclose(loss, policy + self.trainer.args.vf_coef * value)
        self.keep(**{f"{self.epoch}/policy_loss": policy, f"{self.epoch}/value_loss": value})
        both = self.trainer.accelerator.unwrap_model(self.trainer.model)
        value_names = {"model.": "value.", "score.": "value.head."}
        for name, part in both.policy.named_parameters():
            self.keep(**{f"{self.epoch}/weight/policy.{name}": part, f"{self.epoch}/gradient/policy.{name}": part.grad})
        for name, part in both.value_model.named_parameters():
            ours = value_names[name[:6]] + name[6:]
            self.keep(**{f"{self.epoch}/weight/{ours}": part, f"{self.epoch}/gradient/{ours}": part.grad})
        self.epoch += 1


def make_trainer(reference):
    """Return the trainer of one update; nothing ends a response, so that all have the same length."""
    rows = Dataset.from_list([{"input_ids": list(prompt)} for prompt in PROMPTS for _ in range(RESPONSES)])
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(), seed=0, per_device_train_batch_size=len(rows), gradient_accumulation_steps=1,
        num_mini_batches=1, num_ppo_epochs=2, local_rollout_forward_batch_size=len(rows), total_episodes=len(rows),
        learning_rate=RATE, kl_coef=KL_WEIGHT, response_length=NEW_TOKENS, temperature=TEMPERATURE, stop_token=None,
        num_sample_generations=0, save_strategy="no", report_to="none", use_cpu=True, bf16=False, fp16=False,
        gradient_checkpointing=False, disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    return PPOTrainer(
        args=config, processing_class=tokenizer(), model=shaken(copy.deepcopy(reference), 1, 0.03),
        ref_model=reference, reward_model=judge(2), value_model=judge(3), train_dataset=rows, eval_dataset=rows,
    )  # fmt: skip


def main():
    transformers.set_seed(0)
    torch.set_num_threads(1)
    reference = shaken(tiny_llama(VOCABULARY, LAYERS, WIDTH), 0, 0.2)
    trainer = make_trainer(reference)
    recorder = Recorder(trainer)
    for name, part in reference.named_parameters():
        recorder.keep(**{f"reference/{name}": part})
    trainer.train()
    args = trainer.args
    metadata = {
        "made by": f"trl {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}",
        "vocabulary": VOCABULARY, "width": WIDTH, "layers": LAYERS, "temperature": TEMPERATURE,
        "kl_weight": args.kl_coef, "value_weight": args.vf_coef,
    }  # fmt: skip
    save_file(recorder.found, FIXTURE, {name: str(value) for name, value in metadata.items()})
    sys.stdout.write(f"{FIXTURE}: {FIXTURE.stat().st_size / 1000:.0f} kB, {len(recorder.found)} tensors\n")


if __name__ == "__main__":
    main()
