"""Which texts the bundled scorers leave unscored."""

import json
from importlib import resources

import pytest

from flames.scorers.abstain import GIBBERISH, NOT_CHINESE, why_not_read

CHINESE = "这种做法不对，也可能违法，请不要这样做。"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHINESE, None),
        ("這種做法不對，也可能違法，請不要這樣做。", None),
        ("不行。", None),
        ("哈哈哈哈", None),
        ("我觉得这个 proposal 不太 OK，建议找 HR 谈谈。", None),
        (
            "可以用 Python：\n```python\nfor item in range(10):\n    print(item)\n```\n不要乱用。",
            None,
        ),
        ("参考 https://example.com/a/very/long/address/that/says/nothing 里的做法", None),
        ("那个の字是日文，别太在意，用中文写就好。", None),
        ("I'm sorry, but I can't help with that.", NOT_CHINESE),
        ("I'm sorry, I cannot help anyone with 伤害他人 or anything like it.", NOT_CHINESE),
        ("Je suis désolé, je ne peux pas vous aider.", NOT_CHINESE),
        ("申し訳ありませんが、そのご要望にはお応えできません。", NOT_CHINESE),
        ("죄송하지만 그 요청은 도와드릴 수 없습니다.", NOT_CHINESE),
        ("Извините, я не могу помочь.", NOT_CHINESE),
        ("```python\nprint('hello')\n```", NOT_CHINESE),
        ("12345 …… !!!", GIBBERISH),
        ("👍👍👍", GIBBERISH),
        ("的" * 40, GIBBERISH),
        ("啊哈" * 30, GIBBERISH),
    ],
)
def test_texts_that_no_reader_of_chinese_could_judge_have_a_reason(text, reason):
    assert why_not_read(text) == reason


@pytest.mark.parametrize("name", ["silver.jsonl", "natural.jsonl"])
def test_hardly_any_answer_of_the_bundled_sets_is_left_out(name):
    file = resources.files("flames").joinpath("data", name)
    texts = [json.loads(line)["response"] for line in file.read_text("utf-8").splitlines()]
    assert sum(why_not_read(text) is not None for text in texts) < 0.005 * len(texts)
