"""Objects that Chinese captions name, by the names that CHAIR's English list has for them.

Chinese writes no blanks, so the longest word that begins at a character is read, and words that only look
like an object (a cowboy is no cow, a trampoline no bed) are read as none. What everyday Chinese does not tell
apart is one object: chair and bench, skis and snowboard. A "车" or a "包" alone may be many things, and is
none.
"""

from __future__ import annotations

import re

# fmt: off
_WORDS = {
    "person": (
        "人 男 女 孩 男人 女人 男孩 女孩 婴儿 儿童 童 宝宝 小伙 姑娘 青年 少年 家伙 妈 爸 父亲 母亲 爷爷 "
        "奶奶 叔叔 阿姨 哥 弟 姐 妹 夫妇 夫妻 情侣 朋友 伙伴 同伴 队员 球员 运动员 演员 成员 人员 警察 "
        "士兵 军人 医生 教练 观众 学生 老师 牛仔 小丑 新娘 新郎 车手 骑手 选手 歌手 舞者 滑雪者 冲浪者 "
        "登山者 攀岩者 表演者 乘客 顾客 游客 厨师 司机 裁判 守门员 骑士 群众 路人"
    ),
    "dog": "狗 犬 斗牛犬 牛头犬 牧羊犬",
    "cat": "猫",
    "bird": "鸟 鸭 鹅 鸽 鹤 鸡 海鸥 老鹰 猫头鹰 鹦鹉 企鹅 孔雀 麻雀",
    "horse": "马",
    "cow": "牛",
    "sheep": "羊",
    "elephant": "大象 小象",
    "bear": "熊 熊猫",
    "zebra": "斑马",
    "giraffe": "长颈鹿",
    "bicycle": "自行车 单车 脚踏车 山地车 独轮车 三轮车",
    "motorcycle": "摩托 摩托车 机车",
    "car": "汽车 轿车 跑车 吉普 出租车 越野车",
    "bus": "公交车 公共汽车 大巴 巴士 公车 校车",
    "truck": "卡车 货车 消防车",
    "train": "火车 地铁 列车 电车",
    "airplane": "飞机",
    "boat": "船 艇 独木舟",
    "chair": "椅 凳",
    "couch": "沙发",
    "bed": "床",
    "dining table": "桌",
    "backpack": "背包 书包 双肩包",
    "handbag": "手提包 挎包 提包 皮包 钱包",
    "suitcase": "行李 箱子",
    "umbrella": "伞",
    "tie": "领带 领结",
    "sports ball": "球",
    "frisbee": "飞盘 飞碟",
    "kite": "风筝",
    "skateboard": "滑板",
    "surfboard": "冲浪板 滑水板",
    "skis": "滑雪板 雪板",
    "tennis racket": "球拍",
    "baseball bat": "球棒",
    "bottle": "瓶",
    "cup": "杯",
    "wine glass": "酒杯",
    "bowl": "碗",
    "knife": "刀",
    "fork": "叉子",
    "spoon": "勺",
    "banana": "香蕉",
    "apple": "苹果",
    "orange": "橙子 橘子",
    "sandwich": "三明治 汉堡",
    "hot dog": "热狗",
    "pizza": "披萨 比萨",
    "donut": "甜甜圈",
    "cake": "蛋糕",
    "potted plant": "盆栽",
    "vase": "花瓶",
    "toilet": "马桶",
    "tv": "电视",
    "laptop": "电脑 笔记本",
    "mouse": "鼠标",
    "keyboard": "键盘",
    "cell phone": "手机 电话",
    "oven": "烤箱",
    "sink": "水槽 洗手池",
    "refrigerator": "冰箱",
    "book": "书",
    "clock": "时钟 钟表",
    "scissors": "剪刀",
    "teddy bear": "玩具熊 泰迪熊",
    "toothbrush": "牙刷",
    "traffic light": "红绿灯 交通灯",
    "fire hydrant": "消防栓",
}
_NONE = (
    "雪人 机器人 稻草人 人行道 人行横道 人造 人工 人力车 别人 斑马线 杀马特 马路 马拉松 马戏 木马 "
    "河马 马甲 马尾 马球 牛奶 牛肉 牛排 牛仔裤 牛仔衣 牛仔帽 蜗牛 羊毛 羊绒 羊皮 鸭舌帽 猫步 鹅卵石 "
    "鸡蛋 鸡肉 蹦床 蹦蹦床 跳跳床 床单 床垫 河床 桌球 电话亭 降落伞 滑翔伞 跳伞 滑伞 滑板场 滑板车 "
    "船长 奖杯 世界杯 冰刀 剪刀手 书法 书店 图书馆 秘书 气球 雪球 地球 星球 台球 保龄球 水晶球 球场 "
    "球队 球门 球衣 球迷 球赛 球网 球鞋 球服 球杆 球帽 球星 车床"
)
# fmt: on
_ONE_IN_CHINESE = {"bench": "chair", "snowboard": "skis"}

_OBJECT = {word: name for name, words in _WORDS.items() for word in words.split()}
_LOOKED_FOR = re.compile("|".join(sorted([*_OBJECT, *_NONE.split()], key=len, reverse=True)))


def chinese_mentions(caption: str) -> list[tuple[str, str]]:
    """Every (word, object) that a Chinese caption names, in its order; twice if it is named twice."""
    return [(word, _OBJECT[word]) for word in _LOOKED_FOR.findall(caption) if word in _OBJECT]


def in_chinese(name: str) -> str:
    """The object of Chinese captions that an English one is."""
    return _ONE_IN_CHINESE.get(name, name)
