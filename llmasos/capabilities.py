"""The only list of what a model can be trained for (`TASKS`) and what it can be used for (`CAPABILITIES`).

**To add a task**, write one file in `llmasos/tasks` with a subclass of `Task`, and add one row here. If its models have
a new head, write it in `llmasos/models/heads.py`. If they are used in a new way, add a row to `CAPABILITIES`, a branch
to `llmasos/tasks/responses.py`, a method to `llmasos/sdk.py` and a route to `llmasos/serving/api`.

Everything that offers a choice reads these two tables: the flag `--task`, the Python API, `eval`, `serve` and its
client. They contain only names, so every package can import them.
"""

from dataclasses import dataclass

from llmasos.errors import UserError

FAMILIES = ("gpt", "bert", "transformer")
BUILT_IN_TOOLS = ("calculator",)  # the functions in `llmasos/prompting/tools.py` that a model may call


@dataclass(frozen=True)
class TaskInfo:
    """A row of `TASKS`.

    Attributes:
        summary: what the model learns.
        implementation: "module:Class" of the subclass of `Task`, imported when the task is first used.
        families: the families of models that can learn the task.
        head: the head of such a model (`ModelConfig.head`).
        data_format: the format of the examples (`llmasos/datasets/infer.py`).
        metric: the headline number of its report.
        capability: what the trained model is used for, a name in `CAPABILITIES`.
        per_example: whether the metric is a mean over examples, so that two runs can be compared example by example.
    """

    summary: str
    implementation: str
    families: tuple[str, ...]
    head: str
    data_format: str
    metric: str
    capability: str
    per_example: bool = False


@dataclass(frozen=True)
class Capability:
    """A row of `CAPABILITIES`.

    Attributes:
        summary: what such a model can do.
        route: the route of the HTTP API.
        method: the method of `LLMTrainer`; "" if there is none.
        families, heads: which models have the capability.
        example: a JSON body to try the route with; "" if there is none.
    """

    summary: str
    route: str
    method: str
    families: tuple[str, ...]
    heads: tuple[str, ...]
    example: str


# If several tasks fit a model and its data, the first is the default.
TASKS: dict[str, TaskInfo] = {
    "language-modeling": TaskInfo(
        "continue a text",
        "llmasos.tasks.language_modeling:LanguageModeling",
        ("gpt",), "lm", "text", "nats per token", "completion",
    ),
    "instruction-tuning": TaskInfo(
        "answer as an assistant",
        "llmasos.tasks.instruction_tuning:InstructionTuning",
        ("gpt",), "lm", "conversations", "exact answers", "chat",
    ),
    "preference-optimization": TaskInfo(
        "prefer one answer to another, from pairs of them (DPO)",
        "llmasos.tasks.preference_optimization:PreferenceOptimization",
        ("gpt",), "lm", "preferences", "chosen is more probable", "completion", per_example=True,
    ),
    "reinforcement-learning": TaskInfo(
        "earn a high reward for its own texts (policy gradient)",
        "llmasos.tasks.reinforcement_learning:ReinforcementLearning",
        ("gpt",), "lm", "prompts", "reward", "completion", per_example=True,
    ),
    "bert-pretraining": TaskInfo(
        "fill in masked tokens, and predict whether one text follows the other",
        "llmasos.tasks.bert_pretraining:BertPretraining",
        ("bert",), "pretraining", "text", "masked-LM accuracy", "fill-mask",
    ),
    "masked-diffusion": TaskInfo(
        "write a text by filling in masks, any number of them",
        "llmasos.tasks.masked_diffusion:MaskedDiffusionTask",
        ("bert",), "pretraining", "text", "nats per token", "fill-mask",
    ),
    "translation": TaskInfo(
        "translate a text into another language",
        "llmasos.tasks.sequence_to_sequence:Translation",
        ("transformer",), "lm", "pairs", "BLEU", "translation",
    ),
    "summarization": TaskInfo(
        "summarize a text in one sentence",
        "llmasos.tasks.sequence_to_sequence:Summarization",
        ("transformer",), "lm", "summaries", "ROUGE-L", "translation",
    ),
    "reward-modeling": TaskInfo(
        "score answers, from pairs of which one was preferred (Bradley–Terry)",
        "llmasos.tasks.reward_modeling:RewardModelTraining",
        FAMILIES, "reward", "preferences", "pairs ranked right", "scoring", per_example=True,
    ),
    "text-classification": TaskInfo(
        "give each text one of a fixed list of labels",
        "llmasos.tasks.text_classification:TextClassification",
        FAMILIES, "classifier", "labeled_text", "accuracy", "classification", per_example=True,
    ),
    "token-classification": TaskInfo(
        "find the names in a text and their types (NER)",
        "llmasos.tasks.token_classification:TokenClassificationTask",
        FAMILIES, "token_classifier", "tagged_text", "entity F1", "token-classification",
    ),
    "text-regression": TaskInfo(
        "give each text, or pair of texts, a number (least squares)",
        "llmasos.tasks.text_regression:TextRegression",
        FAMILIES, "reward", "scored_text", "mean squared error", "scoring", per_example=True,
    ),
    "question-answering": TaskInfo(
        "find the answer to a question in a text",
        "llmasos.tasks.question_answering:QuestionAnswering",
        FAMILIES, "question_answering", "questions", "exact match", "question-answering", per_example=True,
    ),
    "text-embedding": TaskInfo(
        "embed texts, so that a query lies near the passage that answers it (InfoNCE)",
        "llmasos.tasks.text_embedding:TextEmbedding",
        FAMILIES, "features", "queries", "recall@1", "embedding", per_example=True,
    ),
}  # fmt: skip

CAPABILITIES: dict[str, Capability] = {
    "completion": Capability(
        "continue a text", "/v1/completions", "generate", ("gpt",), ("lm",),
        '{"prompt": "Once there was a shy girl", "max_tokens": 60, "temperature": 0.8}',
    ),
    "chat": Capability(
        "chat", "/v1/chat/completions", "chat", ("gpt",), ("lm",),
        '{"messages": [{"role": "user", "content": "Tell me a story about Emma and a kite."}], "temperature": 0}',
    ),
    "fill-mask": Capability(
        "fill in masked tokens", "/v1/fill-mask", "fill_mask", ("bert",), ("pretraining",),
        '{"input": "Once there was a [MASK] girl called Anna."}',
    ),
    "translation": Capability(
        "translate or summarize", "/v1/translate", "translate", ("transformer",), ("lm",),
        '{"input": "Es war einmal ein neugieriges Mädchen namens Anna."}',
    ),
    "classification": Capability(
        "classify texts", "/v1/classify", "classify", FAMILIES, ("classifier",),
        '{"input": "Everybody was happy again."}',
    ),
    "token-classification": Capability(
        "find names", "/v1/token-classification", "find_entities", FAMILIES, ("token_classifier",),
        '{"input": "Anna saw the old mill."}',
    ),
    "scoring": Capability("score texts", "", "score", FAMILIES, ("reward",), ""),
    "question-answering": Capability(
        "answer questions about a text", "/v1/question-answering", "answer", FAMILIES, ("question_answering",),
        '{"question": "Where did Paul live?", "context": "Paul lived by the river."}',
    ),
    "inspect": Capability("show its attention", "/v1/inspect", "", FAMILIES, ("lm", "pretraining"), ""),
    "embedding": Capability(
        "embed texts", "/v1/embeddings", "embed", FAMILIES,
        ("lm", "pretraining", "features", "classifier", "reward", "question_answering", "token_classifier"),
        '{"input": "Once there was a shy girl"}',
    ),
}  # fmt: skip


def capabilities_of(family: str, head: str) -> tuple[str, ...]:
    """What a model of this family with this head can be used for.

    >>> capabilities_of("bert", "classifier")
    ('classification', 'embedding')
    """
    return tuple(name for name, row in CAPABILITIES.items() if family in row.families and head in row.heads)


def check_capability(capability: str, family: str, head: str, name: str = "the model") -> None:
    """Check that a model has a capability.

    Args:
        capability: a name in `CAPABILITIES`.
        family, head: the model's.
        name: the model's name, for the message.

    Raises:
        UserError: it does not; the message says what the model is, what it can do, and what to do instead.
    """
    able = capabilities_of(family, head)
    if capability in able:
        return
    row = CAPABILITIES[capability]
    uses = [f"{CAPABILITIES[use].summary} ({CAPABILITIES[use].method})" for use in able if CAPABILITIES[use].method]
    tasks = [task for task in tasks_to_learn(family, head) if TASKS[task].capability == capability]
    teach = f"train it with task={tasks[0]!r}, or " if tasks else ""
    raise UserError(
        f"{name} is a {describe_model(family, head)}: it cannot {row.summary}. It can {', '.join(uses)}. "
        f"Instead, {teach}use a {describe_model(' or '.join(row.families), row.heads[0])}."
    )


def describe_model(family: str, head: str) -> str:
    """Describe a model in words; the head is omitted if it is the one from pretraining.

    >>> describe_model("gpt", "lm"), describe_model("bert", "classifier")
    ('gpt', "bert with the head 'classifier'")
    """
    return family if head in ("lm", "pretraining") else f"{family} with the head {head!r}"


def tasks_to_learn(family: str, head: str) -> list[str]:
    """The tasks that a model can be fine-tuned for. A model with the head of one task can only learn that task.

    >>> tasks_to_learn("bert", "pretraining")[:3]
    ['bert-pretraining', 'masked-diffusion', 'reward-modeling']
    """
    same_head = [name for name, row in TASKS.items() if family in row.families and row.head == head]
    if head not in ("lm", "pretraining"):
        return same_head
    return same_head + [name for name, row in TASKS.items() if family in row.families and name not in same_head]


def default_task(family: str, head: str, chats: bool = False) -> str | None:
    """The task to evaluate a model on when its run's recipe is unknown; None if there is none.

    Args:
        chats: whether its tokenizer has the special tokens of a chat template.
    """
    fitting = [name for name, row in TASKS.items() if family in row.families and row.head == head]
    chat = [name for name in fitting if chats and TASKS[name].capability == "chat"]
    return next(iter([*chat, *fitting]), None)
