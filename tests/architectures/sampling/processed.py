"""What transformers makes of logits before it chooses a token: its own processors, in its own order.

Usage: processed.py, a JSON {"vocabulary", "endOfText", "cases": [{"config", "sequence", "prompt", "seed", "spread"}]} on
stdin. Answers with the ids that are left in each case, and their log-probabilities.
"""

import json
import sys

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel


def logits_of(seed, count, spread):
    """The numbers of logitsOf in the test: a linear congruential generator, exact in integers."""
    state, values = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(spread * (state / 2**31 - 0.5))
    return torch.tensor(values, dtype=torch.float64).float()


def main():
    asked = json.load(sys.stdin)
    vocabulary = asked["vocabulary"]
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=vocabulary, n_positions=64, bos_token_id=0, eos_token_id=0))
    answers = []
    for case in asked["cases"]:
        config = GenerationConfig(**case["config"], eos_token_id=asked["endOfText"])
        config, _ = model._prepare_generation_config(config)
        model._prepare_special_tokens(config, device="cpu")
        prompt = case["prompt"]
        if config.max_new_tokens is not None:
            config.max_length = prompt + config.max_new_tokens
        if config.min_new_tokens is not None:
            config.min_length = prompt + config.min_new_tokens
        processors = model._get_logits_processor(config, input_ids_seq_length=prompt, device="cpu")
        ids = torch.tensor([case["sequence"]])
        scores = logits_of(case["seed"], vocabulary, case["spread"])[None]
        log = torch.log_softmax(processors(ids, scores)[0].double(), -1)
        left = torch.nonzero(log > -torch.inf)[:, 0]
        answers.append({"left": left.tolist(), "log": log[left].tolist()})
    json.dump(answers, sys.stdout)


main()
