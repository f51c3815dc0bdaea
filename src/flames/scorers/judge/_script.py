"""Traditional characters as the simplified ones that the parser's tables are written in."""

from __future__ import annotations

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
