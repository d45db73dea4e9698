"""Greedy texts of a model folder by transformers, with the settings of other folders' generation_config.json.

Usage: generated.py FOLDER, a JSON {"settings": [folder], "prompts": [[id]]} on stdin. Answers with the new ids of each
prompt, for each of the settings.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
torch.set_num_threads(1)
asked = json.load(sys.stdin)
answers = []
for folder in asked["settings"]:
    # Given as an argument, it would be completed by the settings of the model's own folder.
    model.generation_config = GenerationConfig.from_pretrained(folder)
    texts = []
    for prompt in asked["prompts"]:
        ids = torch.tensor([prompt])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), tokenizer=tokenizer, pad_token_id=0)
        texts.append(made[0, len(prompt) :].tolist())
    answers.append(texts)
json.dump(answers, sys.stdout)
