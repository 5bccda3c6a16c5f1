"""The known checkpoints: every figure is one that was published, every count one that can be repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from pydantic import ValidationError

from seetell.bundle import catalogue
from seetell.bundle.catalogue import Catalogue, Entry, known_models, weights_bytes
from seetell.core.errors import BundleInvalid

# What was published, and where, copied apart from the catalogue: (checkpoint, dataset, setting) -> figures.
CLIP = "open_clip docs/openclip_retrieval_results.csv"
ZERO_SHOT = "open_clip docs/openclip_results.csv"
LAVIS = "LAVIS docs/benchmark.rst"
VILT = "ViLT paper (Kim et al. 2021)"
PUBLISHED = {
    ("openai/clip-vit-base-patch32", "image-to-text R@1", "COCO", 50.1, CLIP),
    ("openai/clip-vit-base-patch32", "text-to-image R@1", "COCO", 30.4, CLIP),
    ("openai/clip-vit-base-patch32", "image-to-text R@1", "Flickr30k", 78.9, CLIP),
    ("openai/clip-vit-base-patch32", "text-to-image R@1", "Flickr30k", 58.8, CLIP),
    ("openai/clip-vit-base-patch32", "top-1 accuracy", "ImageNet", 63.3, ZERO_SHOT),
    ("openai/clip-vit-large-patch14-336", "image-to-text R@1", "COCO", 57.9, CLIP),
    ("openai/clip-vit-large-patch14-336", "text-to-image R@1", "COCO", 37.1, CLIP),
    ("openai/clip-vit-large-patch14-336", "image-to-text R@1", "Flickr30k", 87.7, CLIP),
    ("openai/clip-vit-large-patch14-336", "text-to-image R@1", "Flickr30k", 66.9, CLIP),
    ("openai/clip-vit-large-patch14-336", "top-1 accuracy", "ImageNet", 76.6, ZERO_SHOT),
    ("google/siglip-so400m-patch14-384", "image-to-text R@1", "COCO", 72.4, CLIP),
    ("google/siglip-so400m-patch14-384", "text-to-image R@1", "COCO", 54.2, CLIP),
    ("google/siglip-so400m-patch14-384", "image-to-text R@1", "Flickr30k", 94.3, CLIP),
    ("google/siglip-so400m-patch14-384", "text-to-image R@1", "Flickr30k", 83.0, CLIP),
    ("Salesforce/blip-image-captioning-base", "CIDEr", "COCO", 133.5, LAVIS),
    ("Salesforce/blip-image-captioning-base", "BLEU-4", "COCO", 39.9, LAVIS),
    ("Salesforce/blip-image-captioning-base", "SPICE", "COCO", 23.7, LAVIS),
    ("Salesforce/blip-image-captioning-base", "CIDEr", "NoCaps", 109.1, LAVIS),
    ("Salesforce/blip-vqa-base", "VQA accuracy", "VQAv2 test-dev", 78.23, LAVIS),
    ("Salesforce/blip-vqa-base", "VQA accuracy", "VQAv2 test-std", 78.29, LAVIS),
    ("Salesforce/blip-itm-base-coco", "image-to-text R@1", "COCO", 82.0, LAVIS),
    ("Salesforce/blip-itm-base-coco", "text-to-image R@1", "COCO", 64.5, LAVIS),
    ("dandelin/vilt-b32-finetuned-vqa", "VQA accuracy", "VQAv2 test-dev", 71.26, VILT),
    ("dandelin/vilt-b32-finetuned-coco", "image-to-text R@1", "COCO", 61.5, VILT),
    ("dandelin/vilt-b32-finetuned-coco", "text-to-image R@1", "COCO", 42.7, VILT),
}

# Parameters as papers round them, in millions.
ROUNDED_M = {
    "openai/clip-vit-base-patch32": 151,
    "openai/clip-vit-large-patch14-336": 428,
    "google/siglip-so400m-patch14-384": 878,
    "Salesforce/blip-image-captioning-base": 224,
    "Salesforce/blip-vqa-base": 361,
}

BY_ID = {entry.hub_id: entry for entry in known_models()}


def test_every_figure_was_published_and_every_published_one_is_there() -> None:
    found = {
        (entry.hub_id, figure.metric, figure.dataset, figure.value, figure.source)
        for entry in known_models()
        for figure in entry.figures
    }
    assert found == PUBLISHED


def test_settings_say_what_a_model_was_taught_on() -> None:
    """A figure of a model taught on the set must never look like one of a model that was not."""
    for entry in known_models():
        for figure in entry.figures:
            taught = not entry.hub_id.startswith(("openai/", "google/"))
            assert (figure.setting == "zero-shot") != taught, entry.hub_id
            assert figure.setting == "zero-shot" or figure.setting.startswith("fine-tuned on ")


def test_checkpoints_are_those_seetell_converts_each_once() -> None:
    assert len(known_models()) == len(BY_ID) == 17
    names = [name for entry in known_models() for name in (entry.hub_id, *entry.aliases)]
    assert len(set(names)) == len(names)
    assert {"bert-base-uncased", "gpt2"} <= set(names)


def test_parameters_round_to_what_papers_say() -> None:
    for name, millions in ROUNDED_M.items():
        assert round(BY_ID[name].parameters / 1e6) == millions
    # ViLT's paper leaves out the embeddings of its words.
    words_left_out = BY_ID["dandelin/vilt-b32-finetuned-coco"].parameters - 30522 * 768
    assert words_left_out / 1e6 == pytest.approx(87.4, abs=1)


def test_licences_are_stated_or_said_to_be_unknown() -> None:
    assert {entry.licence for entry in known_models()} == {
        "Apache-2.0",
        "MIT",
        "BSD-3-Clause",
        catalogue.LICENCE_UNSTATED,
    }


@pytest.mark.parametrize("entry", known_models(), ids=lambda entry: entry.hub_id)
def test_work_is_counted_for_what_a_model_is_for(entry: Entry) -> None:
    for purpose, task in catalogue.TASK_OF.items():
        assert (entry.work(purpose) is not None) == (task in entry.tasks), purpose


def test_weights_take_their_bytes() -> None:
    assert [weights_bytes(1_000, precision) for precision in ("fp32", "bf16", "int8")] == [
        4_000,
        2_000,
        1_000,
    ]


def test_nothing_unknown_in_the_file_is_overlooked() -> None:
    document = Catalogue(parameters_from="counting", models=known_models()[:1]).model_dump(mode="json")
    assert Catalogue.model_validate(document).models == known_models()[:1]
    document["models"][0]["licnece"] = "MIT"
    with pytest.raises(ValidationError, match="licnece"):
        Catalogue.model_validate(document)


@pytest.mark.parametrize("name", ["no such file.json", "manifest.py"])
def test_a_damaged_file_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE_NAME", name)
    with pytest.raises(BundleInvalid, match="install it again"):
        known_models.__wrapped__()


# The published configurations, where they differ from transformers' defaults for the class. Nothing is
# computed: on the meta device there are shapes only, and torch counts two operations per multiply-add too.
BUILD = """
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig, BertForMaskedLM, BlipConfig, BlipForConditionalGeneration,
    BlipForImageTextRetrieval, BlipForQuestionAnswering, CLIPConfig, CLIPModel, ChineseCLIPConfig,
    ChineseCLIPModel, GPT2Config, GPT2LMHeadModel, ResNetConfig, ResNetForImageClassification,
    SiglipConfig, SiglipModel, ViTConfig, ViTForImageClassification, ViTModel, ViltConfig,
    ViltForImageAndTextRetrieval, ViltForQuestionAnswering, VisionEncoderDecoderModel,
)

def flops(model):
    device = next(model.parameters()).device
    if hasattr(model, "vilt"):
        ids = torch.ones(1, 10, dtype=torch.long)
        inputs, sides = {"input_ids": ids, "token_type_ids": ids}, (384, 512)
    else:
        names = ("vision_model", "vit", "resnet", "encoder")
        model = next((getattr(model, name) for name in names if hasattr(model, name)), None)
        if model is None:
            return 0
        inputs, sides = {}, (getattr(model.config, "image_size", 224),) * 2
    inputs["pixel_values"] = torch.empty(1, 3, *sides, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**inputs)
    return counter.get_total_flops()

def count(make):
    with torch.device("meta"):
        model = make().eval()
    total = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    # ViLT's forward pass looks into its tensors, so it needs real ones.
    return total, flops(make().eval() if hasattr(model, "vilt") else model)

text, large = dict(encoder_hidden_size=768, num_attention_heads=12), dict(image_size=384)
clip_l = CLIPConfig(
    text_config=dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12),
    vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                       image_size=336, patch_size=14),
    projection_dim=768)
blip = lambda **more: BlipConfig(text_config=text, vision_config=large, **more)
so400m = dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16)
chinese = ChineseCLIPConfig(text_config=dict(vocab_size=21128), vision_config=dict(patch_size=16))
gpt2 = GPT2Config(is_decoder=True, add_cross_attention=True)
for name, make in {
    "google/vit-base-patch16-224": lambda: ViTForImageClassification(ViTConfig(num_labels=1000)),
    "microsoft/resnet-50": lambda: ResNetForImageClassification(ResNetConfig(num_labels=1000)),
    "google-bert/bert-base-uncased": lambda: BertForMaskedLM(BertConfig()),
    "openai-community/gpt2": lambda: GPT2LMHeadModel(GPT2Config()),
    "openai/clip-vit-base-patch32": lambda: CLIPModel(CLIPConfig()),
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": lambda: CLIPModel(CLIPConfig()),
    "openai/clip-vit-large-patch14-336": lambda: CLIPModel(clip_l),
    "google/siglip-base-patch16-224": lambda: SiglipModel(SiglipConfig()),
    "google/siglip-so400m-patch14-384": lambda: SiglipModel(SiglipConfig(
        text_config=so400m, vision_config=dict(**so400m, image_size=384, patch_size=14))),
    "google/siglip2-base-patch16-224": lambda: SiglipModel(SiglipConfig(text_config=dict(vocab_size=256000))),
    "OFA-Sys/chinese-clip-vit-base-patch16": lambda: ChineseCLIPModel(chinese),
    "Salesforce/blip-image-captioning-base": lambda: BlipForConditionalGeneration(blip()),
    "Salesforce/blip-vqa-base": lambda: BlipForQuestionAnswering(blip()),
    "Salesforce/blip-itm-base-coco": lambda: BlipForImageTextRetrieval(blip(image_text_hidden_size=256)),
    "dandelin/vilt-b32-finetuned-vqa": lambda: ViltForQuestionAnswering(ViltConfig(num_labels=3129)),
    "dandelin/vilt-b32-finetuned-coco": lambda: ViltForImageAndTextRetrieval(ViltConfig()),
    "nlpconnect/vit-gpt2-image-captioning":
        lambda: VisionEncoderDecoderModel(encoder=ViTModel(ViTConfig()), decoder=GPT2LMHeadModel(gpt2)),
}.items():
    print("count", name, *count(make))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_counts_are_those_of_transformers_and_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counted = {
        name: (int(parameters), int(flops))
        for _, name, parameters, flops in (
            line.split() for line in done.stdout.splitlines() if line.startswith("count ")
        )
    }
    assert {name: found[0] for name, found in counted.items()} == {
        entry.hub_id: entry.parameters for entry in known_models()
    }
    for entry in known_models():
        shape = entry.architecture
        work = shape.answer_work() if shape.joint is not None else shape.embedding_work()
        # The heads and poolers we count and it does not, or the other way round, are small.
        if work is not None:
            assert counted[entry.hub_id][1] == pytest.approx(work.parallel_flops, rel=2e-3), entry.hub_id
