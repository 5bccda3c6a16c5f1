"""Chinese questions by their wording."""

from __future__ import annotations

import re

from seetell.tasks.question import Question

_EXISTS = ("有", "没有")
_TRUE = ("是", "不是")
_POLITE = re.compile(r"^(?:请问|请|告诉我|你知道|问一下|那么|那|，|,|：|:|\s)+")
_SCENE = re.compile(
    r"^(?:在)?(?:这张|这幅|这个|这|那张)?(?:图片|照片|图像|画面|图|相片)(?:里面|里|中|上|内)?(?:的|，|,)?"
)
_ENDINGS = re.compile(r"(?:呢|啊|呀|嘛|吧|的时候|拍摄的|拍的|照的|\s)+$")
_PLACE_ENDS = re.compile(r"(?:的时候|拍摄的|拍的|照的)$")
# What stands right before the first of the options.
_MARKERS = re.compile(r".*(?:是|在|有|到|的(?!$)|：|:|，|,|、)")
# Words for anything, and what hardly a photo lacks: they take nothing for given.
_ANYTHING = frozenset({
    "", "东西", "物体", "物品", "图形", "形状", "背景", "天空", "天", "地面", "地板", "地", "墙", "墙壁",
    "它", "他", "她", "它们", "这", "那", "图",
})  # fmt: skip
_COLOUR_ZH = re.compile(r"(?:什么|哪种|哪个|何种|啥|什麼)颜?色|颜色是什么|颜色呢")


def read_chinese(text: str) -> Question:
    """What a Chinese question asks for."""
    plain = _POLITE.sub("", re.sub(r"\s+", "", text).strip("?？。！!"))
    if "还是" in plain and not re.search(r"是还是不是|有还是没有", plain):
        options = _options_zh(plain)
        if len(options) > 1:
            return Question("choice", "zh", options)
    if re.search(r"几(?![点岁月号年时])|多少(?!岁|钱|度|年)", plain):
        return Question("count", "zh")
    if _COLOUR_ZH.search(plain):
        return Question("colour", "zh", thing=_thing_zh(plain))
    if re.search(r"(?:做|干)(?:什么|啥|嘛)|干嘛", plain) and "运动" not in plain:
        return Question("doing", "zh")
    if re.search(r"哪里|哪儿|什么地方|什么地点|何处", plain):
        return Question("where", "zh")
    if re.search(r"(?:什么|哪种|啥)动物", plain):
        return Question("animal", "zh")
    return _yes_no_zh(plain) or Question("other", "zh")


def _yes_no_zh(plain: str) -> Question | None:
    if re.search(r"有没有|有无|有还是没有", plain):
        return Question("yes_no", "zh", _EXISTS)
    if re.search(r"是不是|是否|是还是不是|(.)不\1", plain):
        return Question("yes_no", "zh", _TRUE)
    if plain.endswith("没有"):
        return Question("yes_no", "zh", _EXISTS)
    if not re.search(r"吗[呢啊]?$|吗[，,]", plain):
        return None
    # "Is there", and "can you see", unless it is said of what there is.
    there = max(plain.rfind(word) for word in ("有", "看到", "看见", "看得到"))
    return Question("yes_no", "zh", _EXISTS if there > plain.rfind("是") else _TRUE)


def _thing_zh(plain: str) -> str | None:
    match = re.match(r"(?P<x>.+?)的?(?:颜色是什么|颜色呢|是(?:什么|哪种|哪个|何种|啥)颜?色)", plain)
    if match is None:
        return None
    thing = re.sub(r"^(?:[这那此]一?|一)[个只条匹辆些件顶棵朵座]?(?=.)", "", _SCENE.sub("", match["x"]))
    # "The man's shirt": the shirt.
    thing = thing.rpartition("的")[2]
    return None if thing in _ANYTHING or len(thing) > 6 else thing


def _options_zh(plain: str) -> tuple[str, ...]:
    """What an "A 还是 B" offers; nothing where it cannot be made out."""
    before, _, last = plain.rpartition("还是")
    last = _trimmed(_ENDINGS.sub("", re.sub(r"吗$", "", last)))
    parts = [part for part in re.split(r"[、，,]|还是", before) if part]
    if not last or not parts:
        return ()
    middle = [_trimmed(one) for one in parts[1:]]
    first = _trimmed(_MARKERS.sub("", re.sub(r"的$", "", parts[0])))
    if len(first) > len(last) + 1 or not first:
        first = parts[0][-len(last) :]
    if parts[1:] and len(parts[0]) > 6 and not _MARKERS.match(parts[0]):
        # "In the picture, is it A or B": the first part is no option.
        middle, first = middle[1:], _trimmed(_MARKERS.sub("", middle[0]))
    names = tuple(dict.fromkeys((first, *middle, last)))
    return names if len(names) > 1 and all(0 < len(name) <= 8 for name in names) else ()


def _trimmed(option: str) -> str:
    """Without the words that tie it to the sentence: "在室内" is "室内", "红色的" is "红色"."""
    option = re.sub(r"^(?:是|在|有)(?=.)", "", option)
    option = _PLACE_ENDS.sub("", option)
    option = re.sub(r"(?<=.)的$", "", option)
    return re.sub(r"^[一两](?:个|只|条|匹|辆|件|位|名)(?=.)", "", option)
