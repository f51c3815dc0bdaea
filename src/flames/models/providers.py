"""The providers that are known: address, key, and how each refuses a request.

The codes and words follow the providers' published error pages. An answer is compared with those
of all providers, since any address may lead to any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Refusal = Literal["blocked", "slow down", "try again", "unusable"]


@dataclass(frozen=True)
class BatchTerms:
    """The batch interface of a provider, as its documentation has it.

    Args:
        url: What every line of a file asks, and the endpoint of the batch.
        lines: The most requests in a file.
        megabytes: The most of a file, each 1,000,000 bytes.
        line_megabytes: The most of one request.
        hours: The shortest and the longest time to wait for all answers.
        completions: Whether texts to continue may be asked for, besides chats.
        name_field: The field of a batch's metadata that its console shows as the name.
    """

    url: str = "/v1/chat/completions"
    lines: int = 50_000
    megabytes: float = 200.0
    line_megabytes: float | None = None
    hours: tuple[int, int] = (24, 24)
    completions: bool = False
    name_field: str | None = None


@dataclass(frozen=True)
class Provider:
    """One provider of models.

    Args:
        base_url: Its OpenAI-compatible endpoint; empty where every customer has another one.
        key_env: Environment variables that may hold the key, the first one set being taken.
        url_env: The environment variable that may hold another address.
        version_env: Those that may hold the version of an API with deployments.
        environment: Whether what the `openai` client reads from the environment is sent to it:
            `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`, `OPENAI_CUSTOM_HEADERS`.
        blocked: Error codes of its content filter, in any case of letters.
        blocked_words: A regular expression for messages of its content filter.
        no_credit: A regular expression for messages and codes of an account without credit.
        unusable: A regular expression for messages and codes of a wrong key or model.
        in_body: The meaning of the codes that it answers with HTTP 200, in `base_resp`.
        batch: Its batch interface, where it has one that works as OpenAI's does.
    """

    title: str
    base_url: str = ""
    key_env: tuple[str, ...] = ()
    key_optional: bool = False
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    url_env: str = ""
    version_env: tuple[str, ...] = ()
    environment: bool = False
    blocked: tuple[str, ...] = ()
    blocked_words: str = ""
    no_credit: str = ""
    unusable: str = ""
    in_body: Mapping[int, Refusal] = field(default_factory=dict)
    batch: BatchTerms | None = None


_DASHSCOPE_BATCH = BatchTerms(
    megabytes=500.0, line_megabytes=6.0, hours=(24, 336), name_field="ds_name"
)

PROVIDERS: Final[dict[str, Provider]] = {
    "openai": Provider(
        "OpenAI",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        max_tokens_field="max_completion_tokens",
        url_env="OPENAI_BASE_URL",
        environment=True,
        blocked=("content_policy_violation", "content_filter", "moderation_blocked"),
        blocked_words=r"safety system|content polic(?:y|ies)|usage (?:guidelines|polic(?:y|ies))"
        r"|limited access to this content for safety",
        no_credit=r"insufficient[_ ]?quota|exceeded your current quota",
        unusable=r"model[_ ]?not[_ ]?found|model.{0,60}does not exist"
        r"|invalid[_ ]?(?:api[_ -]?)?key|incorrect api key",
        batch=BatchTerms(completions=True),
    ),
    "deepseek": Provider(
        "DeepSeek",
        "https://api.deepseek.com/v1",
        ("DEEPSEEK_API_KEY",),
        blocked_words=r"content exists risk",
        no_credit=r"insufficient[_ ]?balance",
        unusable=r"model[_ ]?not[_ ]?exist",
    ),
    "dashscope": Provider(
        "Alibaba DashScope (Qwen)",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
        url_env="DASHSCOPE_BASE_URL",
        blocked=("data_inspection_failed", "DataInspectionFailed"),
        blocked_words=r"(?:input|output)\W+(?:text )?data may contain inappropriate"
        r"|data_?inspection_?failed",
        no_credit=r"arrearage",
        batch=_DASHSCOPE_BATCH,
    ),
    "dashscope-intl": Provider(
        "Alibaba Model Studio, Singapore",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
        batch=_DASHSCOPE_BATCH,
    ),
    "dashscope-us": Provider(
        "Alibaba Model Studio, Virginia",
        "https://dashscope-us.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
    ),
    "zhipu": Provider(
        "Zhipu (GLM)",
        "https://open.bigmodel.cn/api/paas/v4",
        ("ZHIPUAI_API_KEY", "ZHIPU_API_KEY", "ZAI_API_KEY"),
        blocked=("1301",),
        no_credit=r"余额不足|欠费|额度已",
        unusable=r"模型不存在",
        batch=BatchTerms("/v4/chat/completions", megabytes=100.0),
    ),
    "moonshot": Provider(
        "Moonshot (Kimi)",
        "https://api.moonshot.cn/v1",
        ("MOONSHOT_API_KEY",),
        blocked=("content_filter",),
        blocked_words=r"considered high risk",
        no_credit=r"exceeded_current_quota",
        unusable=r"invalid_authentication",
        batch=BatchTerms(megabytes=100.0, hours=(12, 168)),
    ),
    "minimax": Provider(
        "MiniMax",
        "https://api.minimaxi.com/v1",
        ("MINIMAX_API_KEY",),
        blocked_words=r"(?:input|output) (?:new_)?sensitive|new_sensitive",
        in_body={
            **dict.fromkeys((1026, 1027), "blocked"),
            **dict.fromkeys((1002, 1039, 1041), "slow down"),
            **dict.fromkeys((1000, 1001, 1013, 1024, 1033), "try again"),
            **dict.fromkeys((1004, 1008, 2049, 2056), "unusable"),
        },
    ),
    "qianfan": Provider(
        "Baidu Qianfan (ERNIE)",
        "https://qianfan.baidubce.com/v2",
        ("QIANFAN_API_KEY",),
        url_env="QIANFAN_BASE_URL",
    ),
    "ark": Provider(
        "Volcengine Ark (Doubao)",
        "https://ark.cn-beijing.volces.com/api/v3",
        ("ARK_API_KEY",),
        blocked=(
            *("InputTextRiskDetection", "OutputTextRiskDetection", "SensitiveContentDetected"),
            *("InputTextSensitiveContentDetected", "OutputTextSensitiveContentDetected"),
        ),
        blocked_words=r"risk ?detection|sensitive ?content ?detected",
        no_credit=r"account.{0,20}overdue|AccountOverdue",
    ),
    "siliconflow": Provider(
        "SiliconFlow", "https://api.siliconflow.cn/v1", ("SILICONFLOW_API_KEY",)
    ),
    "openrouter": Provider(
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        blocked_words=r"requires moderation|flagged (?:by|for|as)",
        no_credit=r"insufficient[_ ]?credit|credit balance",
    ),
    "ollama": Provider("Ollama", "http://localhost:11434/v1"),
    "vllm": Provider("vLLM", "http://localhost:8000/v1", ("VLLM_API_KEY",), key_optional=True),
    "lmstudio": Provider("LM Studio", "http://localhost:1234/v1"),
    "azure": Provider(
        "Azure OpenAI",
        key_env=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        url_env="AZURE_OPENAI_ENDPOINT",
        version_env=("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"),
        blocked=("content_filter", "ResponsibleAIPolicyViolation"),
        blocked_words=r"content management policy",
    ),
    "stepfun": Provider(
        "StepFun",
        blocked=("censorship_blocked",),
        blocked_words=r"machine outputted is blocked",
    ),
    "spark": Provider(
        "iFLYTEK Spark",
        blocked=("10013", "10014", "10019"),
        blocked_words=r"content check failed|audit(?:ing)? (?:fails|failed)",
    ),
    "xai": Provider("xAI", blocked_words=r"SAFETY_CHECK_TYPE"),
    "bedrock": Provider(
        "Amazon Bedrock",
        blocked=("guardrail_intervened",),
        blocked_words=r"guardrails?\b.{0,60}(?:blocked|intervened|violat|failed|triggered|denied)"
        r"|(?:violated?|blocked by).{0,60}guardrail",
    ),
    "gemini": Provider(
        "Gemini",
        blocked=("prohibited_content", "blocklist", "spii", "prompt_blocked", "safety"),
        blocked_words=r"(?:prompt|response|content|request|input|output|message|answer) "
        r"(?:was |is |has been )?(?:block|reject|refus|filter)ed"
        r" (?:due to|because of|by|for).{0,60}(?:safety|content|polic|filter|moderat|security"
        r"|prohibited)",
    ),
    "": Provider(
        "What gateways and smaller providers say",
        blocked=(
            *("sensitive_content", "content_risk", "unsafe_content", "sensitive_words_detected"),
            *("content_moderation", "moderation_error", "content_blocked", "prompt_flagged"),
        ),
        blocked_words=r"sensitive (?:content|words?)|content[ _]filter(?!_error)"
        r"|(?:unsafe|harmful|inappropriate|prohibited) content|safety (?:filter|polic|guideline)"
        r"|(?:flagged|blocked|rejected) by .{0,30}moderation|moderation (?:polic|blocked|flagged)"
        r"|涉敏|涉及敏感|违禁|不当内容|不良信息|审核未通过|未通过.{0,8}审核|触发.{0,8}(?:安全|审核|风控)"
        r"|敏感内容|敏感信息|敏感词|内容安全|违规内容|内容违规|不合规|安全审核|内容审核|审核不通过",
        no_credit=r"insufficient[_ ]?user[_ ]?quota",
        unusable=r"model does ?not exist|unknown model|invalid[_ ]?model|no such model",
    ),
}

PRESETS = {name: each for name, each in PROVIDERS.items() if each.base_url or each.url_env}
"""The providers that a model's name may begin with: `deepseek/deepseek-chat`."""
