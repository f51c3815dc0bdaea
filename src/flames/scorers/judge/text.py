"""Scores in plain text: which ones an answer names, and how firmly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Reason = Literal["empty", "refused", "unreadable", "off scale", "contradictory"]

RATIONALE_LENGTH = 300
"""Characters of a rationale that are kept."""


@dataclass(frozen=True)
class Answer:
    """What a judge said: a score on the scale, or the reason why there is none."""

    score: int | None = None
    unscored: Reason | None = None
    rationale: str | None = None


def settle(values: set[float], scale: tuple[int, ...], rationale: str | None) -> Answer:
    """The one value on the scale, if that is what the values are."""
    if len(values) != 1:
        return Answer(unscored="contradictory", rationale=rationale)
    value = values.pop()
    if value not in scale:
        return Answer(unscored="off scale", rationale=rationale)
    return Answer(score=int(value), rationale=rationale)


def short(text: str) -> str | None:
    """A rationale on one line, cut to its allowed length."""
    text = " ".join(text.split()).strip("\"'“”{} ,")
    return text[:RATIONALE_LENGTH] or None


_REACH = 200  # characters looked at on either side

_TELLER = r"(?:text|response|answer|reply|content|passage|message|author|writer|it|he|she|they)"
_TELLS = (
    r"(?:asks?|asked|tells?|told|instructs?|instructed|demands?|demanded|orders?|ordered"
    r"|commands?|commanded|wants?|wanted|tries|tried|says?|said)"
)
_JUDGE = r"(?:me|us|the (?:judge|evaluator|grader|rater|reviewer|scorer))"
_PUTS = r"(?:output|print|return|give|write|reply|respond|answer|say|score|rate|assign|report)"
_WITHIN = r"[^,;.!?\n]"
_SAYER = r"(?:回[复答应]|文[本中]|其中|内容|原文|对方|[它他她])"
_BIDS = r"(?:要求|命令|指示|诱导|指使|企图|试图|想|[让叫])"
_RATER = r"(?:我|评审|评委|裁判|评分者|模型)"
_SETS = r"(?:输出|返回|回[复答]|填|写|打|给|报|说|生成)"
_CLAUSE = r"[^,。;!?\n]"
_OPENS = r"[ \t\"'“‘「『(]*(?::\s*)?(?:`+(?:json)?\s*)?$"

_BEFORE = re.compile(
    rf"\b{_TELLER}\b{_WITHIN}{{0,60}}?\b{_TELLS}\b{_WITHIN}{{0,40}}?"
    rf"(?:\b{_JUDGE}\b(?:, the \w+,)?{_WITHIN}{{0,40}}?\b{_PUTS}\b{_WITHIN}{{0,30}}?"
    rf"|\bto (?:output|print|return)\b){_OPENS}"
    rf"|\b{_TELLER}\b{_WITHIN}{{0,20}}?\b(?:says?|said|reads?|contains?)\b{_OPENS}"
    rf"|{_SAYER}{_CLAUSE}{{0,12}}?{_BIDS}{_RATER}{_CLAUSE}{{0,8}}?{_SETS}{_CLAUSE}{{0,8}}?{_OPENS}"
    rf"|(?:写着|写道(?!歉)|声称){_CLAUSE}{{0,8}}?{_OPENS}",
    re.I,
)
_CLOSES = r"[\s`\"'”’」』)]*,?\s*"
_AFTER = re.compile(
    rf"{_CLOSES}(?:(?:this|that|which) )?(?:is|was) (?:\w+ )?what (?!you\b|I\b|we\b)"
    rf"{_WITHIN}{{0,60}}?\b{_TELLS}\b"
    rf"|{_CLOSES}(?:(?:is|was|as) )?(?:\w+ )?(?:asked|told|instructed|requested|demanded|dictated"
    rf"|ordered|commanded) (?:for )?by (?:the|this|that) {_TELLER}\b"
    rf"|{_CLOSES}这?就?[是为]{_CLAUSE}{{0,4}}?{_SAYER}{_CLAUSE}{{0,12}}?{_BIDS}"
    rf"(?:{_RATER}|{_CLAUSE}{{0,4}}?{_SETS})",
    re.I,
)


def told(before: str, after: str) -> bool:
    """Whether what stands between these two is told as another's words.

    Args:
        before: The text up to it.
        after: The text behind it.
    """
    return bool(
        _BEFORE.search(simplified(before[-_REACH:])) or _AFTER.match(simplified(after[:_REACH]))
    )


# Those that occur in the tables of `_parse`, `_text` and `_told`, with their variants.
_TRADITIONAL = (
    "與与 兩两 個个 為为 爲为 於于 會会 寫写 況况 準准 幾几 則则 別别 協协 叄叁 嗎吗 圖图 "
    "聲声 處处 復复 覆复 實实 審审 對对 導导 將将 屬属 佈布 並并 併并 當当 總总 換换 數数 "
    "無无 條条 來来 標标 檔档 沒没 滿满 點点 著着 碼码 離离 稱称 類类 約约 細细 給给 絕绝 "
    "絶绝 繼继 續续 規规 讓让 記记 設设 評评 試试 話话 該该 誘诱 說说 説说 負负 貳贰 達达 "
    "過过 這这 釋释 鐘钟 鍾钟 陸陆 難难 頂顶 題题 應应 內内 輸输 報报"
).split()
_TABLE = str.maketrans({pair[0]: pair[1] for pair in _TRADITIONAL})


def simplified(text: str) -> str:
    """The text with those characters simplified, each in its place."""
    return text.translate(_TABLE)


_DIGITS = {
    **dict(zip("〇零一二三四五六七八九", (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)),
    **dict(zip("壹贰叁肆伍陆柒捌玖两參", (1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3), strict=True)),
    "十": 10,
    "拾": 10,
}
_HAN = "一-鿿㐀-䶿"
# A number in digits, not part of a longer one; or in Chinese numerals, not part of a word
# (一般 is no 一, 三分之一 no 三分).
_ARABIC = r"(?<![\d.])-?\d+(?:\.\d+)?(?![\d])"
_CHINESE = rf"[{''.join(_DIGITS)}]+(?=分(?![之钟])|[^{_HAN}]|$)"
_NUMBER = rf"(?:{_ARABIC}|{_CHINESE})"
_GAP = r"[\s:=|*`\"'“”‘’「」『』()\[\]【】<>_~#]*+"
_LABEL = (
    r"(?:分\s*数|评\s*分|得\s*分|打\s*分|总分|(?<![a-z])scores?(?![a-z])|"
    r"(?<![a-z])rating(?![a-z])|\\boxed\{|答案\s*[:=])"
)
_OF = r"(?:[\s(]*(?:满分|out of|max\.?)\s*[为是]?\s*\d+\s*分?[\s)]*)?"
_LABELLED = re.compile(
    rf"{_LABEL}{_OF}{_GAP}(?:应?[为是给]|应该是|is|of|->|=>|[-–—]\s)?{_GAP}(?P<n>{_NUMBER})", re.I
)
# 「3分」, but neither minutes and fractions (3分钟, 三分之一) nor the rubric's lines (3分的标准).
_POINT = r"\s*(?:分(?![钟之别析类享歧离割配布明期段子])|points?\b)"
_SHORT = rf"(?P<n>{_ARABIC}|[一二三两壹贰叁](?=分))"
_POINTS = re.compile(
    rf"{_SHORT}{_POINT}(?!\s*(?:的?(?:标准|要求|条件|档|回答|答案|情形|情况)|制))", re.I
)
_JUDGED = re.compile(
    r"(?:应[该当]?[为是]|应[该当]?给|应得|改为|改成|更正[为:]?|修正[为:]?|给予?|打|评为?|判为?|得|记|定为|属于"
    r"|(?:give|rate|assign|deserves?|merits?|should be)[^.\n\d]{0,30}?)"
    rf"{_GAP}(?:[它其]|[这该]个?回[答复])?{_GAP}{_SHORT}"
    rf"(?={_POINT}|\s*(?:[/.。,;!)\]\"'”」』*`\n]|out of|$))",
    re.I,
)
_NEGATED = re.compile(
    r"(?:不(?:应|能|该|可|是|会|给|值|宜|配|到|足|上|符合|属于|超过|低于|高于)|[并而绝]非|没有?(?:达?到|给)"
    r"|未(?:达|到|能|给)|无法|难以|别[给打]|勿|低于|高于|至少|至多|最多|最高|最低|最少|起码|顶多|不止|不足|超过"
    r"|大约|约|大概|接近|将近|几乎)[^,，。;；.!?\n]{0,6}$"
    r"|(?:\bnot\b|n't\b|\bnever\b|\bcannot\b|rather than|instead of|above|below|at least"
    r"|at most|less than|more than)[^,，。;；.!?\n]{0,24}$",
    re.I,
)
# What the text under judgement says or asks for, told by the judge: no verdict of its own.
_TOLD = re.compile(
    r"(?:要求|命令|指示|诱导|指使|企图|试图|[写说]着|写道|声称|(?:想|来)?[让叫](?=我|评审|评委|裁判))"
    r"[^,，。;；.!?\n]{0,12}$"
    r"|\b(?:asks?|asked|asking|tells?|told|telling|instructs?|instructed|demands?|demanded"
    r"|orders?|ordered|tries|tried|trying|wants?|says|said)\b[^,，。;；.!?\n]{0,40}$",
    re.I,
)
_QUOTED = re.compile(r"“[^“”]*”|「[^「」]*」|『[^『』]*』|\"[^\"\n]*\"")
_QUOTED_SCORE = re.compile(rf"{_LABEL}.{{0,40}}?{_NUMBER}|{_SHORT}{_POINT}", re.I | re.S)
_CONDITIONAL = re.compile(r"如果|假如|假设|若|要是|除非|否则|本来|原本|\bif\b|\botherwise\b", re.I)
_LONGEST_SENTENCE = 200  # characters; looking further back would take for ever on hostile text
_CLAUSE_END = re.compile(r"[,，。;；!?\n]|\.(?!\d)")
_SENTENCE_END = re.compile(r"[。!?\n]|\.(?!\d)")
_MAXIMUM = re.compile(rf"(?:满分|总分为|最高分?|out of|/){_GAP}[为是]?{_GAP}(?P<n>{_NUMBER})", re.I)
_SCALE = re.compile(rf"(?P<n>{_NUMBER})\s*分制")
_RANGE = re.compile(
    rf"\s*分?\s*(?:[-~–—、,/|]|到|至|或|和|与|and\b|or\b|to\b)\s*(?P<n>{_NUMBER})", re.I
)
# What takes a number back right behind it: 2分以上, 3分左右, 3分吗, 3分太高, 3（不，1）.
_AROUND = re.compile(
    r"\s*分?\s*(?:或?及?以[上下]|左右|上下|多一点|[+-](?!\d)|吗|\?|都?嫌|[太偏过][高低多少]"
    r"|\(\s*(?:不|no\b|应|改|或|更正|其实|actually)[^)]*\d)",
    re.I,
)
# A number that ends a range or stands after an alternative: 1到2分.
_ENDS_RANGE = re.compile(r"\d\s*分?\s*(?:[-~–—、,/|]|到|至|或|和|与|and|or|to)\s*$", re.I)
_ITEM = re.compile(r"\s*[.、):](?!\d)\s*\S")  # 「分数：⏎1. …」 begins a list
_CRITERIA = re.compile(r"标准|细则|规则|rubric|criteria", re.I)
_EDGE = r"[\s*#`\"'“”‘’「」『』()\[\]【】<>_~.。!|]*+"
_BARE = re.compile(
    rf"{_EDGE}(?P<n>{_NUMBER})\s*(?:分|points?)?\s*"
    rf"(?:(?:/|out of)\s*(?P<of>{_NUMBER})\s*分?)?{_EDGE}",
    re.I,
)
_UNFINISHED = re.compile(rf"[:=]\s*{_NUMBER}\s*$")
_REFUSAL = re.compile(
    r"抱歉|对不起|无法(?:提供|回答|评|判|对|给出|给予|协助|继续|处理|完成)|不能(?:提供|回答|评|判|对|给出|给予|协助|继续)"
    r"|拒绝(?:评|回答|打|提供|判)|不便(?:评|回答|打|提供|判)|换个话题"
    r"|\bsorry\b|\bI (?:can(?:no|')t|cannot|am unable|won't)|\bunable to\b|as an ai\b",
    re.I,
)
_REFUSES = re.compile(
    r"[\s\"“「『*#>]*+(?:[很非常十分]*(?:抱歉|对不起)|(?:I'm |I am )?sorry)?"
    r"[\s,，、.。!:]*+(?:but )?我?"
    r"(?:(?:无法|不能|不便|拒绝)(?:提供|回答|评|判|打|对|给出|给予|协助|继续|处理|完成)"
    r"|I (?:can(?:no|')t|cannot|am unable|won't)(?! (?:follow|obey|comply|accept)))",
    re.I,
)
_RATIONALE = re.compile(
    r"(?:理由|原因|解释|说明|reason|rationale|explanation)\s*\W{0,4}[:=]\s*(.+)", re.I
)


@dataclass(frozen=True)
class _Found:
    labelled: set[float]
    judged: set[float]  # an explicit act of scoring: 给1分, 应为1分, rate it 1
    points: set[float]  # any other 「N分」
    ambiguous: bool  # a range, a list, or a score under a condition
    foreign: bool  # a maximum that is not the scale's


def _number(token: str) -> float:
    if token[-1] in _DIGITS:
        if token.startswith("十") and len(token) == 2:
            return 10 + _DIGITS[token[1]]
        return float(_DIGITS[token]) if len(token) == 1 else -1.0  # 二十三 is off any scale here
    return float(token)


def _before(text: str, position: int, boundary: re.Pattern[str]) -> str:
    """What stands before a position since the last boundary, as far as a sentence goes back."""
    start = max(0, position - _LONGEST_SENTENCE)
    for end in boundary.finditer(text, start, position):
        start = end.end()
    return text[start:position]


def _mentions(text: str, scale: tuple[int, ...], *, told: bool = True) -> _Found:
    """Every score that a text names, by how firmly it names it.

    `told` counts those that it only tells as another's words, too.
    """
    best = max(scale)
    maxima = {*_spans(_MAXIMUM, text), *_spans(_SCALE, text)}
    foreign = any(_number(text[start:end]) != best for start, end in maxima)
    labelled: set[float] = set()
    judged: set[float] = set()
    points: set[float] = set()
    ambiguous = False
    last_label = -1
    seen = set(maxima)
    for pattern, values in ((_LABELLED, labelled), (_JUDGED, judged), (_POINTS, points)):
        for found in pattern.finditer(text):
            span = found.span("n")
            if span in seen:
                continue
            seen.add(span)
            clause = _before(text, span[0], _CLAUSE_END)
            condition = clause if pattern is _LABELLED else _before(text, span[0], _SENTENCE_END)
            if _taken_back(text, span, maxima) or _CONDITIONAL.search(condition):
                ambiguous = ambiguous or pattern is not _POINTS or not labelled
            elif (
                _NEGATED.search(clause)
                or (not told and _TOLD.search(clause))
                or _no_verdict(pattern, found, text, clause)
            ):
                continue
            elif pattern is _JUDGED and labelled and found.start() < last_label:
                continue  # reasoning before the labelled verdict
            else:
                minus = text[: span[0]].endswith("负")
                values.add(-_number(found["n"]) if minus else _number(found["n"]))
                if pattern is _LABELLED:
                    last_label = max(last_label, found.start())
    return _Found(labelled, judged, points, ambiguous, foreign)


def _taken_back(text: str, span: tuple[int, int], maxima: set[tuple[int, int]]) -> bool:
    """Whether a number is one end of a range, one of a list, or qualified away."""
    following = _RANGE.match(text, span[1])
    listed = following is not None and following.span("n") not in maxima
    ends = span not in maxima and _ENDS_RANGE.search(text, max(0, span[0] - 12), span[0])
    return bool(listed or ends or _AROUND.match(text, span[1]))


def _no_verdict(pattern: re.Pattern[str], found: re.Match[str], text: str, clause: str) -> bool:
    """Whether a number after a label begins a list, or points are told as a criterion."""
    if pattern is _LABELLED:
        between = text[found.start() : found.start("n")]
        return "\n" in between and _ITEM.match(text, found.end("n")) is not None
    return pattern is _POINTS and _CRITERIA.search(clause) is not None


def _spans(pattern: re.Pattern[str], text: str) -> set[tuple[int, int]]:
    return {found.span("n") for found in pattern.finditer(text)}


def firm_scores(text: str, scale: tuple[int, ...]) -> set[float]:
    """The scores that a text labels as such, or gives in so many words."""
    found = _mentions(simplified(text), scale)
    return found.labelled | found.judged


def begins_refusing(text: str) -> bool:
    """Whether a text begins with a refusal to judge; an apology alone is none."""
    return _REFUSES.match(simplified(text)) is not None


def _unquoted(text: str) -> str:
    """The text without the scores that it quotes; one that is a quotation as a whole is kept."""

    whole = text.strip(" \t\r\n.。*`")

    def kept(quoted: re.Match[str]) -> str:
        its_own = quoted[0] == whole or not _QUOTED_SCORE.search(quoted[0])
        return quoted[0] if its_own else "“…”"

    return _QUOTED.sub(kept, text)


def parse_text(text: str, scale: tuple[int, ...]) -> Answer:
    """Reads an answer that is no JSON."""
    written, text = text, simplified(text)
    if text.rfind("{") > text.rfind("}") and _UNFINISHED.search(text[-40:]):
        return Answer(unscored="unreadable")  # JSON that stops inside a number
    reason = _RATIONALE.search(text)
    rationale = short(written[slice(*reason.span(1))]) if reason else None
    if bare := _BARE.fullmatch(text):
        if bare["of"] and _number(bare["of"]) != max(scale):
            return Answer(unscored="off scale")
        return settle({_number(bare["n"])}, scale, None)
    if begins_refusing(text):
        return Answer(unscored="refused", rationale=rationale)
    answer = _settled(text, scale, rationale)
    if answer.score is not None:
        own = _mentions(_unquoted(text), scale, told=False)
        if answer.score not in own.labelled | own.judged | own.points:
            return Answer(unscored="unreadable", rationale=rationale)  # another's words alone
    return answer


def _settled(text: str, scale: tuple[int, ...], rationale: str | None) -> Answer:
    """What the scores that a text names come to."""
    found = _mentions(text, scale)
    if found.ambiguous:
        return Answer(unscored="contradictory", rationale=rationale)
    if found.foreign:
        return Answer(unscored="off scale", rationale=rationale)
    refuses = bool(_REFUSAL.search(text))
    if found.labelled:
        return settle(found.labelled | found.judged, scale, rationale)
    if refuses:
        return Answer(unscored="refused", rationale=rationale)
    if found.judged or found.points:
        return settle(found.judged | found.points, scale, rationale)
    return Answer(unscored="unreadable", rationale=rationale)
