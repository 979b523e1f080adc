"""The response of any trained model to a text, according to the task it was trained for."""

from llmasos.datasets import QA
from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate, generate_from
from llmasos.models import Model
from llmasos.tasks.bert_pretraining import MASK, fill_masks
from llmasos.tasks.question_answering import answer_questions
from llmasos.tasks.reward_modeling import score
from llmasos.tasks.text_classification import classify
from llmasos.tasks.text_embedding import cosine
from llmasos.tasks.token_classification import find_entities
from llmasos.tokenizers import Tokenizer


def respond(
    model: Model,
    tokenizer: Tokenizer,
    text: str,
    options: SamplingOptions | BeamOptions,
    context: str | None = None,
) -> str:
    """A model's response to a text, as a line for a person.

    A GPT continues the text, a Transformer translates or summarizes it, a BERT fills in each [MASK], a classifier
    predicts its labels with their probabilities, a token classifier finds names, a reward model scores the text as an
    answer to the context, a question-answering model answers the question from the context, and a text embedder
    compares text and context.

    Args:
        model, tokenizer: the model and its tokenizer.
        text: the prompt, the source, the text to classify, or the question.
        options: for models that generate text: sampling or beam search.
        context: the text that holds the answer, for models that answer questions; the prompt, for reward models; the
            other text, for text embedders.

    Raises:
        UserError: the model needs a context, or a [MASK] in the text, and there is none.
    """
    config = model.config
    if config.head == "classifier":
        probabilities = classify(model, tokenizer, [text])[0]
        order = probabilities.argsort()[::-1]
        return ", ".join(f"{config.labels[i]} {probabilities[i]:.1%}" for i in order)
    if config.head == "token_classifier":
        [entities] = find_entities(model, tokenizer, [text])
        return ", ".join(f"{entity.text} {entity.label} {entity.score:.1%}" for entity in entities) or "(no name)"
    if config.head == "reward":
        return f"{score(model, tokenizer, [context or ''], [text])[0]:.3f}"
    if config.head == "features":
        if context is None:
            raise UserError("this model compares texts; pass the other one with --context.")
        return f"cosine {cosine(model, tokenizer, text, context):.3f}"
    if config.head == "question_answering":
        if context is None:
            raise UserError("this model answers questions about a text; pass the text with --context.")
        return answer_questions(model, tokenizer, [QA(context, text, ())])[0].text or "(no answer in this text)"
    if config.family == "bert":
        choices = fill_masks(model, tokenizer, text)
        return "\n".join(f"{MASK} {', '.join(f'{word} {p:.1%}' for word, p in best)}" for best in choices)
    if isinstance(options, BeamOptions):
        return beam_search(model, tokenizer, [text], options)[0][0].text.strip()
    write = generate if config.family == "gpt" else generate_from
    return write(model, tokenizer, [text], options)[0].text.strip()
