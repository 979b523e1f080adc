"""Few-shot prompts: examples show a task to a model that was only trained to continue texts (Brown et al. 2020).

    Give the opposite.          ← instruction

    Word: hot                   ← examples, each an input with its output
    Opposite: cold

    Word: tall                  ← the question; the model continues after the last label
    Opposite:

The examples take up context. If they do not all fit, the *first* ones are left out, because a model pays most attention
to the last ones. The result says how many, so that nothing is dropped silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.errors import UserError
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class FewShotPrompt:
    """A prompt for the model to continue.

    Attributes:
        text: the prompt.
        n_tokens: its length, including the token that begins a text if there is one.
        n_dropped: the number of examples that did not fit.
        stop: where to stop the continuation: the beginning of a next example.
    """

    text: str
    n_tokens: int
    n_dropped: int
    stop: tuple[str, ...]


@dataclass(frozen=True)
class FewShot:
    """The format of a few-shot prompt.

    >>> task = FewShot("Give the opposite.", labels=("Word", "Opposite"))
    >>> print(task.render([("hot", "cold")], "tall"))
    Give the opposite.
    <BLANKLINE>
    Word: hot
    Opposite: cold
    <BLANKLINE>
    Word: tall
    Opposite:

    Attributes:
        instruction: what to do, in a sentence; "" for none.
        labels: the texts before an input and before an output.
        separator: the text between examples.
        after_label: the text between a label and its input or output.

    Raises:
        UserError: the separator is empty.
    """

    instruction: str = ""
    labels: tuple[str, str] = ("Input", "Output")
    separator: str = "\n\n"
    after_label: str = ": "

    def __post_init__(self):
        if not self.separator:
            raise UserError("the separator is empty; it must not be, because the answer ends where it begins.")

    def render(self, examples: Sequence[tuple[str, str]], question: str) -> str:
        """The prompt with all the examples, up to the label of the output to predict.

        White space at its end is removed: a word's token includes the space before it, so after a prompt that ends in a
        space, the model could not use that token.
        """
        parts = [self.instruction] if self.instruction else []
        parts += [self._example(input, output) for input, output in examples]
        parts.append(self._example(question, "").rstrip())
        return self.separator.join(parts)

    def fit(
        self, tokenizer: Tokenizer, examples: Sequence[tuple[str, str]], question: str, budget: int
    ) -> FewShotPrompt:
        """The prompt with as many of the last examples as fit.

        Args:
            tokenizer: the tokenizer of the model that will continue the prompt.
            examples: inputs with their outputs, the most instructive last.
            question: the input whose output to predict.
            budget: the maximum number of tokens in the prompt: the context minus the length of the answer.

        Raises:
            UserError: the question alone does not fit.
        """
        for n_dropped in range(len(examples) + 1):
            text = self.render(examples[n_dropped:], question)
            n_tokens = len(tokenizer.encode_prompt(text))
            if n_tokens <= budget:
                return FewShotPrompt(text, n_tokens, n_dropped, (self.separator, f"\n{self.labels[0]}"))
        raise UserError(
            f"the question has {n_tokens} tokens without any example, and there is room for {budget}; shorten it, or "
            "use a model with a longer context."
        )

    def _example(self, input: str, output: str) -> str:
        first, second = self.labels
        return f"{first}{self.after_label}{input}\n{second}{self.after_label}{output}"
