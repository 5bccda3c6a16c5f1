"""Does a GGUF file's model write the same here as in transformers? Greedy answers to 20 questions.

    python benchmarks/chat_parity.py SmolLM2-135M-Instruct.Q4_1.gguf BUNDLE

BUNDLE: what ``seetell convert`` made of the file. Both compute in float32. transformers reads the tokens that
seetell makes of each conversation, and where its own tokenizer makes others of it, that is said.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import seetell

TOKENS = 64
QUESTIONS = (
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Explain photosynthesis to a child.",
    "What is 17 times 3?",
    "Name three fruits and their colours.",
    "Translate 'good morning' to Spanish.",
    "Why is the sky blue?",
    "List the planets of the solar system.",
    "Give me a recipe for pancakes.",
    "Who wrote Romeo and Juliet?",
    "What does a cache do?",
    "Write a short story about a cat and a lighthouse.",
    "How do I boil an egg?",
    "Summarise: The dog chased the ball, then slept all day.",
    "Is water wet? Answer yes or no and say why.",
    "Write a Python function that adds two numbers.",
    "What happened in 1969?",
    "Describe a red bicycle leaning on a wall.",
    "Give two synonyms for happy.",
    "What's the difference between a lake and a sea?",
)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--limit", type=int, default=len(QUESTIONS))
    given = parser.parse_args()
    where: dict[str, Any] = {"gguf_file": given.file.name}
    reference = AutoModelForCausalLM.from_pretrained(given.file.parent, dtype=torch.float32, **where).eval()
    theirs = AutoTokenizer.from_pretrained(given.file.parent, **where)
    same = tokens = whole = other_prompts = 0
    with seetell.load(given.bundle, precision="fp32") as model:
        for question in QUESTIONS[: given.limit]:
            messages = [{"role": "user", "content": question}]
            reply = model.chat(messages, max_tokens=TOKENS)
            written = [one.token for one in reply.logprobs]
            ids = model.chat_tokens(messages)
            prompt = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
            other_prompts += prompt["input_ids"] != ids
            expected = theirs.convert_ids_to_tokens(_generated(reference, ids))
            matching = sum(one == other for one, other in zip(written, expected, strict=False))
            same += matching
            tokens += max(len(written), len(expected))
            whole += written == expected
            print(f"{matching:3d} of {len(expected):3d} tokens the same: {question}")
    print(f"{whole} of {given.limit} answers the same, {same} of {tokens} tokens")
    print(f"{other_prompts} questions are other tokens in transformers' tokenizer of the same file")


def _generated(reference: Any, ids: list[int]) -> list[int]:
    inputs = torch.tensor([ids])
    found = reference.generate(
        inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=TOKENS, do_sample=False
    )
    written: list[int] = found[0, len(ids) :].tolist()
    return written


if __name__ == "__main__":
    main()
