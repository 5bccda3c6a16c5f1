// What the page says, in its two languages.
import { effect, signal } from "@preact/signals";
import { remembered, remember } from "./memory";

const en = {
  name: "English",
  tagline: "Captions, answers and search over your photos. They stay on this server.",
  drop: "Drop photos here",
  dropOr: "or paste them, or",
  choose: "Choose photos",
  chooseFolder: "Choose a folder",
  add: "Add photos",
  addFolder: "Add a folder",
  dropNow: "Let go to add them",
  yourPhotos: "Your photos",
  waiting: "waiting…",
  captioning: "looking…",
  busy: (s: number) => `server busy, again in ${s} s`,
  retry: "Try again",
  remove: "Remove",
  close: "Close",
  selected: "Selected photo",
  pick: "Choose a photo to ask about it.",
  caption: "Caption",
  ask: "Ask",
  question: "Question about this photo",
  questionExample: "what is in the picture?",
  asking: "thinking…",
  notSure: (guess: string) => `Not sure. Perhaps: ${guess}`,
  unsure: "Not sure:",
  perhaps: "Perhaps:",
  sure: (percent: string) => `${percent} confident`,
  cannotAsk: "This model does not answer questions.",
  similar: "Similar photos",
  search: "Search",
  searchLabel: "Search the photos",
  inIndex: (count: number) => `In the server's index (${count} ${count === 1 ? "photo" : "photos"})`,
  onPage: "On this page",
  photoGone: "No longer where it was indexed",
  results: "Results",
  searchFailed: "The search failed.",
  why: "Why this matches",
  whyWords: "What each word adds to the similarity:",
  whyOneWord: "One word alone has nothing to be compared with.",
  where: "Show where",
  whereNot: "Hide where",
  looking: "looking…",
  whereIs: (place: string) => `What counts most is ${place}. The lighter, the more it counts.`,
  nowhere: "No part of the photo counts by itself.",
  places: [
    ["at the top left", "at the top", "at the top right"],
    ["on the left", "in the middle", "on the right"],
    ["at the bottom left", "at the bottom", "at the bottom right"],
  ],
  searchExample: "a dog on the beach",
  clear: "Clear",
  found: (count: number, text: string) => `${count} ${count === 1 ? "photo" : "photos"}, the best fit for “${text}” first`,
  foundSimilar: (count: number, name: string) => `${count} ${count === 1 ? "photo" : "photos"}, the most like ${name} first`,
  nothing: "No photo to search yet.",
  stillReading: (count: number) => `${count} still being read.`,
  score: "similarity",
  progress: (done: number, all: number) => `${done} of ${all} photos captioned`,
  failedCount: (count: number) => `${count} could not be used`,
  skipped: (count: number) =>
    count === 1 ? "1 file that is no photo was left out." : `${count} files that are no photos were left out.`,
  starting: "The server is loading its model…",
  gone: "The server does not answer. Trying again…",
  refused: (why: string) => `The server does not answer this page: ${why}`,
  brokenServer: "The server could not run its model; its log says why.",
  keyTitle: "This server asks for a key",
  key: "API key",
  keyGo: "Open",
  keyWrong: "The server does not know this key.",
  language: "Language",
  theme: "Colours",
  themes: { auto: "Auto", light: "Light", dark: "Dark" },
  errors: {
    too_large: "The photo is too large for this server.",
    not_an_image: "This file is not an image.",
    unsupported: "This kind of image is not read; convert it to JPEG or PNG.",
    truncated: "The file is cut off; copy it again.",
    unreadable: "The photo is damaged.",
    empty: "The file is empty.",
    queue_full: "The server is too busy.",
    timeout: "The server took too long.",
    file: "The file cannot be read any more.",
    failed: "The server failed at this photo.",
  } as Record<string, string>,
};

type Texts = typeof en;

const zh: Texts = {
  name: "中文",
  tagline: "为照片写说明、回答问题、搜索照片。照片只会送到这台服务器。",
  drop: "把照片拖到这里",
  dropOr: "也可以粘贴，或者",
  choose: "选择照片",
  chooseFolder: "选择文件夹",
  add: "添加照片",
  addFolder: "添加文件夹",
  dropNow: "松开即可添加",
  yourPhotos: "你的照片",
  waiting: "等待中…",
  captioning: "正在看…",
  busy: (s) => `服务器繁忙，${s} 秒后重试`,
  retry: "重试",
  remove: "移除",
  close: "关闭",
  selected: "选中的照片",
  pick: "选择一张照片来提问。",
  caption: "说明",
  ask: "提问",
  question: "关于这张照片的问题",
  questionExample: "what is in the picture?",
  asking: "思考中…",
  notSure: (guess) => `不确定。也许是：${guess}`,
  unsure: "不确定：",
  perhaps: "也许是：",
  sure: (percent) => `置信度 ${percent}`,
  cannotAsk: "这个模型不能回答问题。",
  similar: "相似的照片",
  search: "搜索",
  searchLabel: "搜索照片",
  inIndex: (count) => `服务器索引（${count} 张照片）`,
  onPage: "本页照片",
  photoGone: "已不在索引时的位置",
  results: "结果",
  searchFailed: "搜索失败。",
  why: "为什么匹配",
  whyWords: "每个词对相似度的贡献：",
  whyOneWord: "只有一个词，无从比较。",
  where: "显示位置",
  whereNot: "隐藏位置",
  looking: "正在看…",
  whereIs: (place) => `最重要的部分在${place}。越亮越重要。`,
  nowhere: "没有哪一部分单独起作用。",
  places: [
    ["左上", "上方", "右上"],
    ["左侧", "中间", "右侧"],
    ["左下", "下方", "右下"],
  ],
  searchExample: "沙滩上的狗",
  clear: "清除",
  found: (count, text) => `${count} 张照片，最符合“${text}”的在前`,
  foundSimilar: (count, name) => `${count} 张照片，与 ${name} 最相似的在前`,
  nothing: "还没有可搜索的照片。",
  stillReading: (count) => `还有 ${count} 张正在读取。`,
  score: "相似度",
  progress: (done, all) => `${all} 张照片中已有 ${done} 张写好说明`,
  failedCount: (count) => `${count} 张无法使用`,
  skipped: (count) => `已略过 ${count} 个不是照片的文件。`,
  starting: "服务器正在加载模型…",
  gone: "服务器没有回应，正在重试…",
  refused: (why) => `服务器不回应此页面：${why}`,
  brokenServer: "服务器无法运行模型，原因见其日志。",
  keyTitle: "这台服务器需要密钥",
  key: "API 密钥",
  keyGo: "进入",
  keyWrong: "服务器不认识这个密钥。",
  language: "语言",
  theme: "颜色",
  themes: { auto: "自动", light: "浅色", dark: "深色" },
  errors: {
    too_large: "照片太大，服务器不接受。",
    not_an_image: "这个文件不是图片。",
    unsupported: "不支持这种图片，请转换为 JPEG 或 PNG。",
    truncated: "文件不完整，请重新复制。",
    unreadable: "照片已损坏。",
    empty: "文件是空的。",
    queue_full: "服务器太忙。",
    timeout: "服务器用时过长。",
    file: "文件已无法读取。",
    failed: "服务器处理这张照片时出错。",
  },
};

export type Language = "en" | "zh";
const texts: Record<Language, Texts> = { en, zh };
export const languages = Object.keys(texts) as Language[];
export const nameOf = (language: Language): string => texts[language].name;

function first(): Language {
  const kept = remembered("language");
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language = signal<Language>(first());

export const t = (): Texts => texts[language.value];

export function choose(chosen: Language): void {
  language.value = chosen;
  remember("language", chosen);
}

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
});
