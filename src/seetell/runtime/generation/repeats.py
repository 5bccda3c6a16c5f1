"""What counts as saying the same again: the rule ``no_repeat`` of GenerationOptions.

It is about words and not about tokens, for the same word may be written in other pieces. At three words it
would refuse 0.9% of the English captions that people wrote for Flickr8k, and as many of the Chinese ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from seetell.core.chinese import HAN, has_chinese

# A Chinese character, a word of another script ("t-shirt"; "man's" is a word, a sign and a word), or a sign.
_WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+(?:-[^\W_{HAN}]+)*|[^\w\s]|_")

# Words that say nothing by themselves: a pair with one of them is no adjective and its noun.
# fmt: off
_FUNCTION = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "his", "she", "her", "they",
    "their", "them", "him", "who", "which", "what", "in", "on", "at", "of", "off", "and", "or", "with",
    "without", "to", "from", "by", "for", "as", "into", "onto", "over", "up", "down", "out", "near",
    "through", "across", "under", "behind", "beside", "around", "along", "while", "there", "is", "are",
    "was", "were", "be", "being", "been", "has", "have", "s", "t", "d", "m", "ll", "re", "ve",
))
# fmt: on
# Chinese has no blanks, and most pairs of characters are one word, which may be said again: of the
# adjectives only colours are told from their nouns.
_COLOURS = frozenset("红白黑蓝绿黄灰棕褐橙紫粉")
_NO_NOUN = _COLOURS | frozenset("色的和与在是着相间")
# Characters that are a word when they stand twice (mum, doggy, bubbles) or meet at the border of two words
# (to slide on a slide). They cover 95% of what stands twice in the Chinese captions of Flickr8k.
_TWICE = frozenset("妈爸爷奶哥姐弟妹宝太狗泡画玩滑蹦跳跷棒胖漉茸茫悄哈亲星慢高")


def words_of(text: str) -> tuple[str, ...]:
    """Words, Chinese characters and signs, in lower case."""
    return tuple(_WORD.findall(text.lower()))


def is_word(word: str) -> bool:
    """Whether it is no sign."""
    return word[0].isalnum()


def repeats(words: Sequence[str], run: int) -> int:
    """How often a text says what it has said.

    Counted are ``run`` words or Chinese characters in a row that stood there before, pairs of words that say
    something and stood there before (adjective and noun; in Chinese a colour and what has it), and words that
    follow upon themselves. Signs are no words, but follow upon themselves too.
    """
    spoken = [word for word in words if is_word(word)]
    again = _twice(list(zip(*(spoken[start:] for start in range(run)), strict=False)))
    pairs = list(pairwise(words))
    if _twice(pairs):
        again += _twice([pair for pair in pairs if _says_something(*pair)])
    for place, pair in enumerate(pairs):
        if pair[0] == pair[1] or (place > 1 and pairs[place - 2] == pair):
            again += _stutters(pairs, place)
    return again


def _twice(found: Sequence[tuple[str, ...]]) -> int:
    """How many of them stood there before."""
    return len(found) - len(set(found))


def _stutters(pairs: Sequence[tuple[str, str]], place: int) -> bool:
    """Whether a word that follows upon itself, or a pair that does, says something again.

    A Chinese character may make a word by standing twice, and words of other scripts may take turns.
    """
    before, word = pairs[place]
    if word != before:
        return has_chinese(word)
    return not has_chinese(word) or word not in _TWICE or (place > 0 and pairs[place - 1][0] == word)


def _says_something(word: str, following: str) -> bool:
    if not (is_word(word) and is_word(following)):
        return False
    if has_chinese(word):
        return word in _COLOURS and has_chinese(following) and following not in _NO_NOUN
    return not has_chinese(following) and word not in _FUNCTION and following not in _FUNCTION
