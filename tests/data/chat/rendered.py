"""Renders chats with the templates of model folders in transformers.

Usage: rendered.py, a JSON {"folders": [path], "chats": [{"messages", "variables", "prompt"}]} on stdin. Prints a
list for each folder: {"text", "ids"} or {"error"} for each chat.
"""

import json
import sys

from transformers import AutoTokenizer


def rendered(tokenizer, chat):
    options = {"add_generation_prompt": chat.get("prompt", True), **chat.get("variables", {})}
    try:
        text = tokenizer.apply_chat_template(chat["messages"], tokenize=False, **options)
        ids = tokenizer.apply_chat_template(chat["messages"], tokenize=True, return_dict=False, **options)
        return {"text": text, "ids": ids}
    except Exception as error:
        return {"error": str(error)}


asked = json.load(sys.stdin)
tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in asked["folders"]]
json.dump([[rendered(tokenizer, chat) for chat in asked["chats"]] for tokenizer in tokenizers], sys.stdout)
