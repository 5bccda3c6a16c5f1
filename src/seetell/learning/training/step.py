"""Where models and objectives meet: one batch in, a dict of losses out.

The image encoder runs once per step and its tokens are projected for the decoder once; every objective
reads from those. Only the rows an objective needs are decoded to the vocabulary, since those logits are
the widest tensors of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seetell.learning.batch import Batch, Captions, Names, Questions
from seetell.learning.objectives.captioning import captioning_loss, next_token_labels
from seetell.learning.objectives.classification import classification_loss, tagging_loss
from seetell.learning.objectives.contrastive import (
    contrastive_logits,
    contrastive_loss,
    limit_logit_scale,
    text_means,
)
from seetell.learning.objectives.masked_language import mask_words, masked_language_loss
from seetell.learning.objectives.matching import matching_loss, mine_pairs
from seetell.learning.objectives.self_critical import (
    CaptionReward,
    advantages,
    drawn,
    self_critical_loss,
)
from seetell.learning.objectives.weighting import FixedWeights, LearnedWeights
from seetell.learning.training.distilling import Distillation, Taught
from seetell.learning.training.gathering import Pairs, gathered, pairs_of
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.rows import (
    by_length,
    encode_by_length,
    rows_by_language,
    some_rows,
    take,
    without_words,
)
from seetell.learning.training.teacher import Teacher, stage_widths
from seetell.learning.training.training_heads import CaptionWordsHead
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.unified import EncodedImage, UnifiedModel
from seetell.modeling.parts.attention import KeyValue

# The objectives that look at image tokens through the decoder's keys and values.
_READ_MEMORY = frozenset(
    {
        *("matching", "masked_language", "captioning", "self_critical", "answer_list", "answer_text"),
        *("distil_matching", "distil_captioning", "distil_answers"),
    }
)
# Where the fusion is none that decodes, it reads the tokens themselves; the decoder answers from fused ones.
_DECODE_IMAGES = frozenset({"captioning", "self_critical", "distil_captioning"})
# Words of a caption that is drawn. People's have 11 on average; a few have more than 30.
_LONGEST_DRAWN = 30
# Those that compare photos and texts read apart.
_READ_APART = frozenset({"contrastive", "matching", "distil_matching", "distil_affinity", "distil_features"})


@dataclass(frozen=True, slots=True)
class LeadIds:
    """Special token ids the objectives need; languages map a code to its lead."""

    fuse: int
    mask: int
    first_word: int
    decoder_start: dict[str, int]
    fill_start: dict[str, int]
    end: int


class TrainingStep(nn.Module):
    """``forward(batch)`` -> ``{"loss": scalar, name: detached scalar, ...}``; one subclass per kind of model.

    model: what export reads, averages follow and validation measures; what the step has beside it serves the
    training alone.
    """

    model: AssembledModel


class JointStep(TrainingStep):
    """The step of our own model. ``forward(batch)`` -> ``{"loss": scalar, name: detached scalar, ...}``.

    Args:
        model: the unified model; export reads it and EMA shadows it.
        objectives: what to train; an objective whose data the batch lacks is skipped for that batch.
        leads: special token ids.
        learned_weights: weigh objectives by learned uncertainty instead of fixed weights.
        teacher: what the objectives named ``distil_...`` learn from. answers: the model's closed list.
        reward: what ``self_critical`` judges captions by.
    """

    def __init__(
        self,
        model: UnifiedModel,
        objectives: Sequence[ObjectiveSpec],
        leads: LeadIds,
        *,
        learned_weights: bool = False,
        teacher: Teacher | None = None,
        answers: Sequence[str] = (),
        reward: CaptionReward | None = None,
    ) -> None:
        super().__init__()
        self.model: UnifiedModel = model
        self.objectives = {spec.name: spec for spec in objectives}
        self.leads = leads
        self._reward = reward
        if contrastive := self.objectives.get("contrastive"):
            model.pooled_dropout.p = contrastive.drop_features
            if model.sentence is not None:
                model.drop_words = contrastive.drop_words
        weights: dict[str, float] = {spec.name: spec.weight for spec in objectives}
        # A head of the training alone: a bundle answers questions, it does not list tags.
        config = model.config
        self.tag_head = (
            nn.Linear(config.text.embed_dim, config.num_answers) if "answer_tags" in self.objectives else None
        )
        self.words_head = (
            CaptionWordsHead(config.text.embed_dim, config.text.vocab_size)
            if "caption_words" in self.objectives
            else None
        )
        self.distillation = (
            Distillation(
                objectives,
                teacher,
                shared_dim=config.shared_dim,
                stage_widths=stage_widths(model.image_encoder, config.image_size),
                answers=answers,
            )
            if teacher is not None
            else None
        )
        self.weighting = LearnedWeights(weights) if learned_weights else FixedWeights(weights)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        if self.training:
            limit_logit_scale(self.model.logit_scale)
        if batch.maps is not None and batch.map_mask is not None:
            image = self.model.encode_maps(batch.maps, batch.map_mask, batch.map_stage)
        else:
            image = self.model.encode_image(batch.pixel_values, batch.pixel_mask)
        memory: list[KeyValue] = []
        has_text = batch.captions is not None or batch.questions is not None
        readers = _READ_MEMORY if self.model.decoder is None else _DECODE_IMAGES
        if has_text and readers & self.objectives.keys():
            memory = self.model.memory(image.tokens)
        told = None if self.distillation is None else self.distillation.begin(batch)
        if batch.captions is not None:
            self._caption_losses(batch.captions, batch.keys, image, memory, told, losses)
            if "self_critical" in self.objectives:
                judged = self._self_critical(batch.captions, batch.keys, image, memory)
                if judged is not None:
                    losses["self_critical"] = judged
        if batch.questions is not None:
            self._question_losses(batch.questions, image, memory, told, losses)
        if told is not None and told.wants("distil_hidden"):
            losses["distil_hidden"] = told.hidden(image.stages)
        labels = self.objectives.get("labels")
        if batch.labels is not None and labels is not None:
            chosen = self.model.label_logits(image)[batch.labels.image_index]
            losses["labels"] = classification_loss(chosen, batch.labels.label, labels.label_smoothing)
        if batch.tags is not None and self.tag_head is not None:
            tagged = self.tag_head(image.pooled[batch.tags.image_index])
            losses["answer_tags"] = tagging_loss(tagged, batch.tags.target)
        if batch.names and "label_names" in self.objectives:
            losses["label_names"] = self._label_names(batch.names, image)
        if not losses:
            raise ValueError("this batch holds data for none of the objectives")
        total = self.weighting(losses)
        return {"loss": total, **{name: loss.detach() for name, loss in losses.items()}}

    # Captions ---------------------------------------------------------------------------------

    def _caption_losses(
        self,
        captions: Captions,
        keys: Sequence[str],
        image: EncodedImage,
        memory: Sequence[KeyValue],
        told: Taught | None,
        losses: dict[str, Tensor],
    ) -> None:
        if _READ_APART & self.objectives.keys():
            ids, mask = captions.ids, captions.attention_mask
            if "contrastive" in self.objectives and self.training and self.model.sentence is None:
                ids, mask = without_words(ids, mask, self.objectives["contrastive"].drop_words)
            own = pairs_of(image.embeds, self._text_embeds(ids, mask), captions, keys)
            self._contrastive_and_matching(captions, image, memory, own, told, losses)
        if self.words_head is not None:
            losses["caption_words"] = self.words_head(
                image.pooled,
                self.model.text_embedding.tokens.weight,
                captions.ids,
                captions.image_index,
                self.leads.first_word,
            )
        if "masked_language" in self.objectives:
            losses["masked_language"] = self._masked_language(captions, image, memory)
        if {"captioning", "distil_captioning"} & self.objectives.keys():
            self._captioning(captions, image, memory, told, losses)

    def _captioning(
        self,
        captions: Captions,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        told: Taught | None,
        losses: dict[str, Tensor],
    ) -> None:
        """From the photos' captions and from the teacher's, of the same rows, the larger of two shares."""
        specs = [self.objectives.get(name) for name in ("captioning", "distil_captioning")]
        rows = some_rows(captions.ids, max(spec.share for spec in specs if spec is not None))
        photos = captions.image_index[rows]
        ids = captions.ids[rows].clone()
        ids[:, 0] = self._leads_of(captions, rows, self.leads.decoder_start)
        inputs, mask, labels = next_token_labels(ids, captions.attention_mask[rows])
        if specs[1] is None:
            losses["captioning"] = self._captioning_by_length(
                (inputs, mask, labels), photos, image, memory, self.objectives["captioning"].label_smoothing
            )
            return
        logits = self._decoded(inputs, mask, labels >= 0, take(memory, photos), image.mask[photos])
        if (learned := specs[0]) is not None:
            losses["captioning"] = captioning_loss(logits, labels[labels >= 0], learned.label_smoothing)
        if told is not None and told.wants("distil_captioning"):
            losses["distil_captioning"] = told.captioning(logits, inputs, mask, photos, labels >= 0)

    def _captioning_by_length(
        self,
        texts: tuple[Tensor, Tensor, Tensor],
        photos: Tensor,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        label_smoothing: float,
    ) -> Tensor:
        """The mean over all words of inputs, mask and labels [R, T], a few lengths at a time."""
        inputs, mask, labels = texts
        logits: list[Tensor] = []
        wanted: list[Tensor] = []
        for rows, longest in by_length(mask):
            here = labels[rows, :longest]
            seen = photos[rows]
            logits.append(
                self._decoded(
                    inputs[rows, :longest],
                    mask[rows, :longest],
                    here >= 0,
                    take(memory, seen),
                    image.mask[seen],
                )
            )
            wanted.append(here[here >= 0])
        return captioning_loss(torch.cat(logits), torch.cat(wanted), label_smoothing)

    def _self_critical(
        self, captions: Captions, keys: Sequence[str], image: EncodedImage, memory: Sequence[KeyValue]
    ) -> Tensor | None:
        """None where no photo of the batch has captions of people."""
        spec = self.objectives["self_critical"]
        reward = self._reward
        if reward is None:
            raise ValueError("self_critical needs a reward")
        # A labelled photo's caption is a template: there is nothing to judge by.
        every = sorted(
            (photo, language)
            for photo, language in set(zip(captions.image_index.tolist(), captions.languages, strict=True))
            if reward.knows(keys[photo], language)
        )
        if not every:
            return None
        asked = [every[place] for place in some_rows(torch.arange(len(every)), spec.share).tolist()]
        asked = [one for one in asked for _ in range(spec.samples)]
        device = captions.ids.device
        photos = torch.tensor([photo for photo, _ in asked], device=device)
        start = torch.tensor([self.leads.decoder_start[language] for _, language in asked], device=device)
        known, seen = take(memory, photos), image.mask[photos]
        ids, mask = self._drawn(start, known, seen)
        words = [
            [word for word in row if word >= self.leads.first_word]
            for row in ids.masked_fill(~mask, self.leads.end).tolist()
        ]
        rewards = [
            reward(keys[photo], language, row) for (photo, language), row in zip(asked, words, strict=True)
        ]
        gained = advantages(torch.tensor(rewards, device=device).reshape(-1, spec.samples)).reshape(-1)
        inputs, inputs_mask, labels = next_token_labels(ids, mask)
        places = labels >= 0
        logits = self._decoded(inputs, inputs_mask, places, known, seen)
        return self_critical_loss(logits, labels[places], gained[:, None].expand_as(labels)[places])

    @torch.no_grad()
    def _drawn(self, start: Tensor, memory: Sequence[KeyValue], memory_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Captions drawn word by word, ``[START] words [EOS]``: ids and mask [R, T]. start: int64[R]."""
        banned = [token for token in range(self.leads.first_word) if token != self.leads.end]
        never = torch.tensor(banned, device=start.device)
        ids = start[:, None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        going = torch.ones_like(start, dtype=torch.bool)
        past: list[KeyValue] | None = None
        limit = min(_LONGEST_DRAWN, self.model.config.text.context_length - 1)
        while ids.shape[1] <= limit and bool(going.any()):
            hidden, past = self.model.decode(ids[:, -1:], mask, memory, memory_mask, past)
            following = drawn(self.model.token_logits(hidden[:, 0]), never)
            ids = torch.cat([ids, following[:, None]], dim=1)
            mask = torch.cat([mask, going[:, None]], dim=1)
            going &= following != self.leads.end
        return ids, mask

    def _contrastive_and_matching(
        self,
        captions: Captions,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        own: Pairs,
        told: Taught | None,
        losses: dict[str, Tensor],
    ) -> None:
        """Per language: a negative in another language would be told apart by its script alone."""
        if "contrastive" in self.objectives:
            losses["contrastive"] = self._contrastive(gathered(own))
        if told is not None:
            losses.update(told.retrieval(own, self.model.logit_scale))
        specs = [self.objectives[name] for name in ("matching", "distil_matching") if name in self.objectives]
        if not specs:
            return
        share = max(spec.share for spec in specs)
        photos, column = torch.unique(captions.image_index, return_inverse=True)
        logits = contrastive_logits(image.embeds[photos], own.text_embeds, self.model.logit_scale).detach()
        left_out = own.left_out
        matching: list[Tensor] = []
        like_teacher: list[Tensor] = []
        for rows in rows_by_language(captions.languages, logits.device).values():
            some = some_rows(rows, share)
            pairs = mine_pairs(
                logits[:, rows],
                column[rows],
                some,
                random_share=specs[0].random_negatives,
                left_out=_of_rows(left_out, rows),
            )
            texts, seen = rows[pairs.text_index], photos[pairs.image_index]
            found = self.model.match_logits(self._fuse_captions(captions, texts, image, memory, seen))
            if "matching" in self.objectives:
                matching.append(matching_loss(found, pairs.label))
            if told is not None and told.wants("distil_matching"):
                like_teacher.append(told.matching(found, texts, seen))
        for name, each in (("matching", matching), ("distil_matching", like_teacher)):
            if each:
                losses[name] = torch.stack(each).mean()

    def _contrastive(self, pairs: Pairs) -> Tensor:
        """Over the photos and texts of all processes, per language."""
        spec = self.objectives["contrastive"]
        left_out = pairs.left_out
        photos, column = torch.unique(pairs.image_index, return_inverse=True)
        logits = contrastive_logits(pairs.image_embeds[photos], pairs.text_embeds, self.model.logit_scale)
        by_language = rows_by_language(pairs.languages, logits.device)
        each = [
            contrastive_loss(logits[:, rows], column[rows], spec.label_smoothing, _of_rows(left_out, rows))
            for rows in by_language.values()
        ]
        weights = torch.tensor(
            [spec.language_weights.get(language, 1.0) for language in by_language], device=logits.device
        )
        loss = (torch.stack(each) * weights).sum() / weights.sum()
        if spec.cross_lingual and len(each) > 1:
            between = self._between_languages(pairs, column, left_out)
            loss = loss + spec.cross_lingual * between
        return loss

    def _label_names(self, named: Sequence[Names], image: EncodedImage) -> Tensor:
        """The mean over all labelled photos of the batch, each told from its own source's other labels."""
        found: list[Tensor] = []
        for names in named:
            embeds = self.model.encode_text(names.ids, names.attention_mask).embeds
            logits = contrastive_logits(image.embeds[names.image_index], embeds, self.model.logit_scale)
            smoothing = self.objectives["label_names"].label_smoothing
            found.append(classification_loss(logits, names.target, smoothing) * len(names.target))
        return torch.stack(found).sum() / sum(len(names.target) for names in named)

    def _text_embeds(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """float[R, S] of all texts."""
        return encode_by_length(lambda *text: self.model.encode_text(*text).embeds, ids, attention_mask)

    def _between_languages(self, pairs: Pairs, column: Tensor, left_out: Tensor | None) -> Tensor:
        """Each text of a further language beside its photo's mean text in the first: mean of the losses.

        column: int64[R], the place of each text's photo among those that have texts; left_out: of these.
        """
        text_embeds, num_photos = pairs.text_embeds, int(column.max()) + 1
        places = rows_by_language(pairs.languages, column.device)
        codes = list(places)
        first = places[codes[0]]
        means, has_text = text_means(text_embeds[first], column[first], num_photos)
        # Photos of which the first language says nothing have no mean, and are left out on both sides.
        new_column = has_text.long().cumsum(dim=0) - 1
        found: list[Tensor] = []
        for code in codes[1:]:
            rows = places[code][has_text[column[places[code]]]]
            if len(rows):
                logits = contrastive_logits(means[has_text], text_embeds[rows], self.model.logit_scale)
                neither = None if left_out is None else left_out[has_text][:, rows]
                found.append(contrastive_loss(logits, new_column[column[rows]], left_out=neither))
        return torch.stack(found).mean() if found else text_embeds.new_zeros(())

    def _masked_language(self, captions: Captions, image: EncodedImage, memory: Sequence[KeyValue]) -> Tensor:
        spec = self.objectives["masked_language"]
        rows = some_rows(captions.ids, spec.share)
        mask = captions.attention_mask[rows]
        ids, labels = mask_words(captions.ids[rows], mask, self.leads.mask, self.leads.first_word)
        ids[:, 0] = self._leads_of(captions, rows, self.leads.fill_start)
        text = self.model.encode_text(ids, mask)
        fused = self._fuse(text.tokens, mask, image, memory, captions.image_index[rows])
        asked = labels >= 0
        return masked_language_loss(
            self.model.token_logits(fused[asked]), labels[asked], spec.label_smoothing
        )

    # Questions --------------------------------------------------------------------------------

    def _question_losses(
        self,
        questions: Questions,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        told: Taught | None,
        losses: dict[str, Tensor],
    ) -> None:
        listed = self.objectives.get("answer_list")
        written = self.objectives.get("answer_text")
        copied = told is not None and told.wants("distil_answers")
        if listed is None and written is None and not copied:
            return
        ids = questions.ids.clone()
        ids[:, 0] = self.leads.fuse
        inputs, answer_mask, labels = next_token_labels(questions.answer_ids, questions.answer_mask)
        answers: list[Tensor] = []
        logits: list[Tensor] = []
        parts = by_length(questions.attention_mask)
        for rows, longest in parts:
            mask = questions.attention_mask[rows, :longest]
            text = self.model.encode_text(ids[rows, :longest], mask)
            fused = self._fuse(text.tokens, mask, image, memory, questions.image_index[rows])
            if listed is not None or copied:
                answers.append(self.model.answer_logits(fused))
            if written is not None:
                here = self.model.memory(fused)
                logits.append(self._decoded(inputs[rows], answer_mask[rows], labels[rows] >= 0, here, mask))
        order = torch.cat([rows for rows, _ in parts])
        if listed is not None:
            losses["answer_list"] = classification_loss(
                torch.cat(answers), questions.answer_index[order], listed.label_smoothing
            )
        if told is not None and copied:
            losses["distil_answers"] = told.answers(
                torch.cat(answers)[order.argsort()], questions.image_index
            )
        if written is not None:
            asked = labels[order]
            losses["answer_text"] = captioning_loss(
                torch.cat(logits), asked[asked >= 0], written.label_smoothing
            )

    # Shared -----------------------------------------------------------------------------------

    def _fuse_captions(
        self,
        captions: Captions,
        rows: Tensor,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        image_rows: Tensor,
    ) -> Tensor:
        """Captions led by [FUSE], as a bundle's fusion encoder reads them; each is encoded once."""
        used, place = torch.unique(rows, return_inverse=True)
        ids = captions.ids[used]
        ids[:, 0] = self.leads.fuse
        text = self.model.encode_text(ids, captions.attention_mask[used])
        return self._fuse(text.tokens[place], captions.attention_mask[rows], image, memory, image_rows)

    def _fuse(
        self,
        text_tokens: Tensor,
        text_mask: Tensor,
        image: EncodedImage,
        memory: Sequence[KeyValue],
        image_rows: Tensor,
    ) -> Tensor:
        return self.model.fuse(
            text_tokens,
            text_mask,
            image.tokens[image_rows],
            image.mask[image_rows],
            None if self.model.decoder is not None else take(memory, image_rows),
        )

    def _decoded(
        self, ids: Tensor, mask: Tensor, asked: Tensor, memory: Sequence[KeyValue], memory_mask: Tensor
    ) -> Tensor:
        """Logits of the words after those places of ids int64[K, T] that are asked for, bool[K, T]."""
        hidden, _ = self.model.decode(ids, mask, memory, memory_mask)
        return self.model.token_logits(hidden[asked])

    def _leads_of(self, captions: Captions, rows: Tensor, leads: dict[str, int]) -> Tensor:
        return torch.tensor(
            [leads[captions.languages[row]] for row in rows.tolist()], device=captions.ids.device
        )


def _of_rows(left_out: Tensor | None, rows: Tensor) -> Tensor | None:
    """bool[B, R] -> bool[B, n]."""
    return None if left_out is None else left_out[:, rows]
