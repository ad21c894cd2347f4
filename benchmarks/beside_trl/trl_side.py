"""TRL 1.12's PPOTrainer on the work of `task.py`; runs where that version is installed, without expound.

    python trl_side.py WORK.json

Prints {"ready": true}, then a line an update. The critic begins as the reward model, as its documentation has it.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from benchmarks.beside_trl.task import Work, load_head, load_work, repeated

PAD, END = 0, 2  # SmolLM2's <|endoftext|> and <|im_end|>; its own pad is its end token, which TRL would mask


def tell(**line: object) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


class Watch(TrainerCallback):
    """Takes the time of an update, and looks at the held-out prompts between two."""

    def __init__(self, work: Work) -> None:
        self.work, self.trainer, self.done = work, None, 0
        self.spent = 0.0

    def begin(self) -> None:
        if self.work.look:
            tell(update=0, cpu_total=0.0, **self.looked())
        self.mark()

    def mark(self) -> None:
        if self.work.paced:
            sys.stdin.readline()
        self.tokens = self.steps = 0
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        self.done, self.spent = self.done + 1, self.spent + cpu
        logged = state.log_history[-1]
        seen = {"reward": logged["objective/scores"], "kl": logged["objective/kl"]}
        if self.work.look and self.done % self.work.look == 0:
            seen |= self.looked()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        tell(update=self.done, cpu=cpu, wall=wall, cpu_total=self.spent, tokens=self.tokens, steps=self.steps,
             peak_gib=peak, **seen)  # fmt: skip
        if self.done < self.work.updates:
            self.mark()

    @torch.no_grad()
    def looked(self) -> dict[str, float]:
        """Return reward, KL, perplexity under the reference and repetition of responses to held-out prompts."""
        work, trainer = self.work, self.trainer
        policy = trainer.accelerator.unwrap_model(trainer.model).policy
        torch.manual_seed(10_000 + work.seed)
        rows = [list(prompt) for prompt in work.held_out for _ in range(work.held_responses)]
        widest = max(map(len, rows))
        queries = torch.tensor([[PAD] * (widest - len(row)) + row for row in rows])
        state = torch.get_rng_state()
        made = policy.generate(
            input_ids=queries, attention_mask=queries != PAD, do_sample=True, temperature=work.temperature, top_k=0,
            top_p=1.0, max_new_tokens=work.new_tokens, eos_token_id=END if work.ends else None, pad_token_id=PAD,
        )  # fmt: skip
        torch.set_rng_state(state)
        mask = (made != PAD).long()
        places = (mask.cumsum(1) - mask).long()
        said = mask[:, widest:].bool()

        def logprobs(model, temperature):
            logits = model(input_ids=made, attention_mask=mask, position_ids=places).logits[:, widest - 1 : -1]
            return (logits / temperature).log_softmax(-1).gather(2, made[:, widest:, None]).squeeze(2) * said

        new, old = logprobs(policy, work.temperature), logprobs(trainer.ref_model, work.temperature)
        plain = logprobs(trainer.ref_model, 1.0)
        hidden = trainer.reward_model.model(input_ids=made, attention_mask=mask, position_ids=places)[0]
        ends = widest - 1 + said.sum(1)
        rewards = trainer.reward_model.score(hidden[torch.arange(len(made)), ends]).squeeze(1)
        texts = [row[keep].tolist() for row, keep in zip(made[:, widest:], said, strict=True)]
        return {
            "held_reward": float(rewards.mean()),
            "held_kl": float((new - old).sum(1).mean()),
            "held_perplexity": float((-plain.sum() / said.sum()).exp()),
            "held_repeated": repeated(texts),
            "held_length": float(said.sum(1).float().mean()),
        }


def count_into(watch: Watch) -> None:
    """Let the watch count optimiser steps and response tokens, end tokens included."""
    step, sampled = watch.trainer.optimizer.step, ppo_trainer.batch_generation

    def counted_step(*given, **named):
        watch.steps += 1
        return step(*given, **named)

    def counted_sampling(model, queries, *given, **named):
        found = sampled(model, queries, *given, **named)
        ended = (found[0][:, queries.shape[1] :] == END).cumsum(1)
        watch.tokens += int((ended - (found[0][:, queries.shape[1] :] == END).long() == 0).sum())
        return found

    watch.trainer.optimizer.step, ppo_trainer.batch_generation = counted_step, counted_sampling


def main() -> None:
    work, head = load_work(Path(sys.argv[1])), load_head()
    transformers.set_seed(work.seed)
    tokenizer = AutoTokenizer.from_pretrained(work.weights, padding_side="left")
    tokenizer.pad_token_id = PAD
    policy = AutoModelForCausalLM.from_pretrained(work.weights, dtype=torch.float32)
    reference = copy.deepcopy(policy)
    reward = AutoModelForSequenceClassification.from_pretrained(work.weights, num_labels=1, dtype=torch.float32)
    reward.score = torch.nn.Linear(len(head.weight), 1)
    with torch.no_grad():
        reward.score.weight.copy_(torch.tensor(head.weight)[None])
        reward.score.bias.fill_(head.bias)
    rows = [{"input_ids": list(prompt)} for prompt in work.train for _ in range(work.responses)]
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(), seed=work.seed, per_device_train_batch_size=work.episodes,
        gradient_accumulation_steps=1, num_mini_batches=work.minibatches, num_ppo_epochs=work.epochs,
        local_rollout_forward_batch_size=work.episodes, total_episodes=work.updates * work.episodes,
        learning_rate=work.rate, kl_coef=work.kl_weight, response_length=work.new_tokens,
        temperature=work.temperature, num_sample_generations=0, save_strategy="no", report_to="none", use_cpu=True,
        bf16=False, fp16=False, stop_token="eos" if work.ends else None,
        missing_eos_penalty=1.0 if work.ends else None, logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    watch = Watch(work)
    trainer = PPOTrainer(
        args=config, processing_class=tokenizer, model=policy, ref_model=reference, reward_model=reward,
        value_model=copy.deepcopy(reward), train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:1]), callbacks=[watch],
    )  # fmt: skip
    watch.trainer = trainer
    count_into(watch)
    tell(ready=True)
    watch.begin()
    trainer.train()


if __name__ == "__main__":
    main()
