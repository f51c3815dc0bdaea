"""Providers known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """Where a provider's endpoint is and where its key is looked for.

    Args:
        title: The provider, for people.
        base_url: The OpenAI-compatible endpoint.
        key_env: Environment variables that may hold the key, the first one set being taken;
            none where no key is needed.
        key_optional: Whether it also works without a key.
        max_tokens_field: What the endpoint calls the longest answer.
    """

    title: str
    base_url: str
    key_env: tuple[str, ...] = ()
    key_optional: bool = False
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


PRESETS: dict[str, Preset] = {
    "openai": Preset(
        "OpenAI",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        max_tokens_field="max_completion_tokens",
    ),
    "deepseek": Preset("DeepSeek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
    "dashscope": Preset(
        "Alibaba DashScope (Qwen)",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
    ),
    "zhipu": Preset(
        "Zhipu (GLM)",
        "https://open.bigmodel.cn/api/paas/v4",
        ("ZHIPUAI_API_KEY", "ZHIPU_API_KEY", "ZAI_API_KEY"),
    ),
    "moonshot": Preset("Moonshot (Kimi)", "https://api.moonshot.cn/v1", ("MOONSHOT_API_KEY",)),
    "minimax": Preset("MiniMax", "https://api.minimaxi.com/v1", ("MINIMAX_API_KEY",)),
    "qianfan": Preset(
        "Baidu Qianfan (ERNIE)", "https://qianfan.baidubce.com/v2", ("QIANFAN_API_KEY",)
    ),
    "ark": Preset(
        "Volcengine Ark (Doubao)", "https://ark.cn-beijing.volces.com/api/v3", ("ARK_API_KEY",)
    ),
    "siliconflow": Preset("SiliconFlow", "https://api.siliconflow.cn/v1", ("SILICONFLOW_API_KEY",)),
    "openrouter": Preset("OpenRouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "ollama": Preset("Ollama", "http://localhost:11434/v1"),
    "vllm": Preset("vLLM", "http://localhost:8000/v1", ("VLLM_API_KEY",), key_optional=True),
    "lmstudio": Preset("LM Studio", "http://localhost:1234/v1"),
}
