"""The forms in which courses and published datasets hand out examples, and a sentence for each that is broken."""

import json
import os

import numpy as np
import pytest

from llmasos.datasets import Answer, LabeledText, Pair, build_tokens, open_examples, open_text
from llmasos.datasets.infer import infer_format
from llmasos.errors import UserError
from llmasos.tokenizers import train_tokenizer

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
HI = (("user", "Hi"), ("assistant", "Hello."))
PARTS = [{"type": "text", "text": "Hi"}]
ALPACA = {"instruction": "Write it in capitals.", "input": "hello", "output": "HELLO"}
JOINED = (("user", "Write it in capitals.\n\nhello"), ("assistant", "HELLO"))
BE = (("system", "Be kind."),)


def write(path, rows, as_list=False):
    text = json.dumps(rows, indent=1) if as_list else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return path


def read_all(format, path, **options):
    return open_examples(format, path, eval_only=True, **options).val


CONVERSATIONS = {
    "messages": ({"messages": [USER, ANSWER]}, HI),
    "content parts": ({"messages": [{"role": "user", "content": PARTS}, ANSWER]}, HI),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}, HI),
    "ShareGPT with a system": ({"system": "Be kind.", "conversations": [USER, ANSWER]}, BE + HI),
    "developer": ({"messages": [{"role": "developer", "content": "Be kind."}, USER, ANSWER]}, BE + HI),
    "a system of null": ({"messages": [{"role": "system", "content": None}, USER, ANSWER]}, HI),
    "prompt and completion": ({"prompt": "Hi", "completion": " Hello."}, HI),
    "prompt and answer": ({"prompt": "Hi", "answer": "Hello.", "system": "Be kind."}, BE + HI),
    "Alpaca": (ALPACA, JOINED),
    "Alpaca without input": (ALPACA | {"input": ""}, (JOINED[0][:1] + ("Write it in capitals.",), JOINED[1])),
    "Alpaca, null": (ALPACA | {"input": None}, (JOINED[0][:1] + ("Write it in capitals.",), JOINED[1])),
    "Dolly": ({"instruction": "Write it in capitals.", "context": "hello", "response": "HELLO"}, JOINED),
    "input and output": ({"input": "Hi", "output": "Hello."}, HI),
    "question and answer": ({"question": "Hi", "answer": "Hello."}, HI),
    "TRL": ({"prompt": [USER], "completion": [ANSWER]}, HI),
    "a last word of the user": ({"messages": [USER, ANSWER, USER]}, HI),
    "a first word of the assistant": ({"messages": [ANSWER, USER, ANSWER]}, HI[1:] + HI),
    "a number": ({"prompt": "1 + 1?", "answer": 2}, (("user", "1 + 1?"), ("assistant", "2"))),
}


@pytest.mark.parametrize("as_list", [False, True], ids=["lines", "list"])
@pytest.mark.parametrize("form", CONVERSATIONS)
def test_every_common_form_of_a_conversation_is_read(tmp_path, form, as_list):
    row, messages = CONVERSATIONS[form]
    for ending in (".json", ".jsonl"):  # whatever the ending promises
        path = write(tmp_path / f"a{ending}", [row, row], as_list)
        assert [chat.messages for chat in read_all("conversations", path)] == [messages] * 2
        assert infer_format(path).formats == ("conversations",)


def test_an_input_follows_the_instruction_also_if_columns_are_named(tmp_path):
    path = write(tmp_path / "a.jsonl", [ALPACA, {"q": "Hi", "more": "you", "a": "Hello."}])
    chats = read_all("conversations", path, columns={"prompt": "instruction", "answer": "output"}, skip_bad=True)
    assert [chat.messages for chat in chats] == [JOINED]
    path = write(tmp_path / "a.jsonl", [{"q": "Hi", "more": "you", "a": "Hello."}])
    chats = read_all("conversations", path, columns={"prompt": "q", "input": "more", "answer": "a"})
    assert chats[0].messages == (("user", "Hi\n\nyou"), ("assistant", "Hello."))
    path = write(tmp_path / "a.jsonl", [{"dialog": [USER, ANSWER]}])
    assert read_all("conversations", path, columns={"messages": "dialog"})[0].messages == HI


BAD_CONVERSATIONS = {
    "null answer": (
        {"messages": [USER, {"role": "assistant", "content": None}]},
        "a message of the assistant is empty",
    ),
    "NaN": ({"prompt": "Hi", "answer": float("nan")}, "the answer is empty"),
    "blank output": (ALPACA | {"output": " \u2028"}, "the answer is empty"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]},
        "of the type 'image_url'",
    ),
    "a role": ({"messages": [USER, {"role": "critic", "content": "3"}, ANSWER]}, "the role 'critic' is unknown"),
    "a call": ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "the call has no name"),
    "an old call": (
        {"messages": [USER, {"role": "assistant", "content": "", "function_call": {}, "tool_calls": []}]},
        "the assistant is empty",
    ),
    "no role": ({"messages": [USER, {"content": "Hello."}]}, 'a message lacks "role" or "content"'),
    "a text": ({"messages": "Hi"}, "the messages are not a list"),
    "null": ({"messages": None}, "the messages are not a list"),
    "texts": ({"messages": ["Hi", "Hello."]}, "the messages are not a list"),
    "a list": ({"prompt": ["Hi"], "answer": "Hello."}, "the prompt is a list, expected a text"),
    "no user before": ({"messages": [ANSWER, USER]}, "the user says nothing before"),
    "no assistant": ({"messages": [USER]}, "no message of the assistant"),
}


@pytest.mark.parametrize("case", BAD_CONVERSATIONS)
def test_a_bad_conversation_is_named_with_its_line_or_skipped_and_counted(tmp_path, case):
    row, message = BAD_CONVERSATIONS[case]
    good = {"messages": [USER, ANSWER]} if "messages" in row else {"prompt": "Hi", "answer": "Hello."}
    good = ALPACA if "instruction" in row else good
    for ending, as_list, line in ((".jsonl", False, 2), (".json", True, None)):
        path = write(tmp_path / f"a{ending}", [good, row, good], as_list)
        line = line or json.dumps([good], indent=1).count("\n") + 1
        with pytest.raises(UserError, match=rf"a{ending}, line {line}: .*{message}.*--skip-bad"):
            read_all("conversations", path)
        splits = open_examples("conversations", path, eval_only=True, skip_bad=True)
        assert len(splits.val) == 2 and len(splits.skipped) == 1


# Questions


def squad(*entries):
    return {"data": [{"title": "t", "paragraphs": [{"context": "Rollo led the Normans.", "qas": list(entries)}]}]}


def entry(text="Rollo", start=0, **more):
    return {"id": "q", "question": "Who led?", "answers": [{"text": text, "answer_start": start}], **more}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": ""}, "the answer is blank"),
        ({"text": " ", "start": 5}, "the answer is blank"),
        ({"text": None}, "the answer is blank"),
        ({"start": 0.5}, "answer_start is 0.5, expected a whole number"),
        ({"start": None}, "answer_start is null, expected a whole number"),
        ({"is_impossible": "no"}, "is_impossible is 'no', expected true or false"),
        ({"is_impossible": None}, "is_impossible is null, expected true or false"),
        ({"answers": None}, '"answers" is not a list'),
        ({"answers": ["Rollo"]}, '"answers" is not a list'),
        ({"question": None}, "the question is empty"),
    ],
)
def test_an_odd_answer_of_squads_format_is_a_bad_row(tmp_path, changes, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(entry() | {"id": "good"}, entry(**changes))))
    with pytest.raises(UserError, match=f"a.json, question q: {message}"):
        read_all("questions", path)
    assert [question.id for question in read_all("questions", path, skip_bad=True)] == ["good"]


def test_is_impossible_may_be_written_as_a_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(entry(is_impossible="false"), entry(is_impossible="true"))))
    assert [question.answers for question in read_all("questions", path)] == [(Answer("Rollo", 0),), ()]


def test_the_rows_of_datasets_squad_are_read(tmp_path):
    row = {"id": "1", "context": "Rollo led the Normans.", "question": "Who led?"}
    rows = [
        row | {"answers": {"text": ["Rollo"], "answer_start": [0]}},
        row | {"answers": {"text": [], "answer_start": []}},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    assert [question.answers for question in read_all("questions", path)] == [(Answer("Rollo", 0),), ()]
    assert infer_format(path).formats == ("questions",)
    for answers in ("Rollo", None, {"text": ["Rollo"]}, {"text": ["Rollo"], "answer_start": [0, 1]}):
        with pytest.raises(UserError, match="line 3: answers"):
            read_all("questions", write(path, [*rows, row | {"answers": answers}]))


@pytest.mark.parametrize(
    "changes", [{"answer": " "}, {"answer": "", "answer_start": 5}, {"answer": None, "answer_start": 5}]
)
def test_a_blank_answer_in_a_table_is_no_answer_only_if_it_claims_no_place(tmp_path, changes):
    row = {"context": "Rollo led the Normans.", "question": "Who led?", "answer": "Rollo"}
    path = write(tmp_path / "a.jsonl", [row, row | {"answer": ""}, row | {"answer": None, "answer_start": -1}])
    assert [len(question.answers) for question in read_all("questions", path)] == [1, 0, 0]
    with pytest.raises(UserError, match="line 2: the answer is blank"):
        read_all("questions", write(path, [row, row | changes]))


# Tables


COLA = "".join(f"gj04\t{i % 2}\t{'*' * (1 - i % 2)}\tThe cat number {i} sat.\n" for i in range(20))
AG_NEWS = "".join(f'"{i % 3 + 1}","Title {i}, short","A longer description of ""news"" {i}"\n' for i in range(20))


@pytest.mark.parametrize("header", ["", "source\tlabel\tmark\tsentence\n"])
def test_a_table_without_names_is_read_by_numbers(tmp_path, header):
    path = tmp_path / "cola.tsv"
    path.write_text(header + COLA)
    examples = read_all("labeled_text", path, columns={"text": "4", "label": "2"})
    assert examples[0] == LabeledText("The cat number 0 sat.", "0") and len(examples) == 20
    assert examples[0].where == f"{path}, line {1 + bool(header)}"


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [("cola.tsv", COLA, {"text": "4", "label": "2"}), ("ag.csv", AG_NEWS, {"text": "3", "label": "1"})],
)
def test_a_first_line_of_data_gets_one_sentence_whose_remedy_works(tmp_path, name, content, columns):
    path = tmp_path / name
    path.write_text(content)
    expected = ",".join(f"{role}={number}" for role, number in columns.items())
    with pytest.raises(UserError, match=f"the first line of .*{name} seems to be data .*--columns {expected}, or add"):
        read_all("labeled_text", path)
    assert len(read_all("labeled_text", path, columns=columns)) == 20
    with pytest.raises(UserError, match="has the columns .*; expected text; text and label"):
        infer_format(path)
    assert infer_format(path, roles=columns).formats == ("labeled_text",)
    with pytest.raises(UserError, match="no column '9' for the text"):
        read_all("labeled_text", path, columns={"text": "9", "label": "1"})


@pytest.mark.parametrize(
    ("header", "separator"), [("Text,LABEL", ","), ("TEXT|Label", "|"), ("id;Sentence;Gold_Label", ";")]
)
def test_names_of_columns_may_be_upper_case_and_separators_bars(tmp_path, header, separator):
    n_first = header.count(separator) - 1
    rows = [
        separator.join([*["7"] * n_first, f"text, {i}" if separator != "," else f"text {i}", "ab"[i % 2]])
        for i in range(20)
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([header, *rows]))
    examples = read_all("labeled_text", path)
    assert {example.label for example in examples} == {"a", "b"} and infer_format(path).formats == ("labeled_text",)
    path.write_text("Text,text,label\n" + "no,yes,a\n" * 5)
    assert read_all("labeled_text", path)[0].text == "yes"


@pytest.mark.parametrize(("format", "row"), [
    ("labeled_text", {"text": "It is.", "label": "a"}),
    ("conversations", {"instruction": "Sing.", "output": "La."}),
    ("questions", {"context": "Who led? Rollo.", "question": "Who?", "answer": "Rollo"}),
    ("preferences", {"chosen": "Yes.", "rejected": "No."}),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_a_column_without_a_name_has_no_role(tmp_path, format, row, ending):
    """It is the index that pandas writes; roles that a table need not have must not be played by it."""
    rows, path = [{"": number} | row for number in range(4)], tmp_path / f"a{ending}"
    lines = [list(rows[0]), *[[*map(str, row.values())] for row in rows]]
    separator = "," if ending == ".csv" else "\t"
    table = "".join(separator.join(line) + "\n" for line in lines)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if ending == ".jsonl" else table)
    plain = write(tmp_path / "plain.jsonl", [row] * 4)
    assert read_all(format, path) == read_all(format, plain)


def test_names_that_are_numbers_are_names(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("2,1\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(9)))
    assert read_all("labeled_text", path, columns={"text": "2", "label": "1"})[0] == LabeledText("text 0", "a")


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"'])
def test_excels_line_names_the_separator_and_is_no_row(tmp_path, line):
    path = tmp_path / "a.csv"
    path.write_text(f"{line}\ntext;label\n" + "".join(f"t, {i};{'ab'[i % 2]}\n" for i in range(9)))
    examples = read_all("labeled_text", path)
    assert examples[0] == LabeledText("t, 0", "a") and examples[0].where == f"{path}, line 3"


def test_a_blank_before_a_quote_belongs_to_neither_cell(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text, label\n"hi, you", "a, b"\n"and\n""me""", "c"\n')
    assert read_all("labeled_text", path) == [LabeledText("hi, you", "a, b"), LabeledText('and\n"me"', "c")]
    path.write_text('label,text\na, "Wow" she said\nb, "No" he said\n')  # here the quotes belong to the text
    assert [example.text for example in read_all("labeled_text", path)] == ['"Wow" she said', '"No" he said']


def test_columns_that_are_not_used_may_hold_anything(tmp_path):
    row = {"gold_label": "neutral", "annotator_labels": ["neutral", None], "sentence1": "A.", "sentence2": "B."}
    path = write(tmp_path / "snli.jsonl", [row, row | {"annotator_labels": {"a": 1}}])
    assert read_all("labeled_text", path) == [LabeledText("A.", "neutral", "B.")] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": "b"}', "is not a JSON list .it is an object."),
        ('{\n "text": "a"', "is not a JSON list"),
        ('[{"text": "a", "label": "b"},\n{"text": }]', "is not a JSON list .Expecting value, line 2"),
        ('[{"text": "a", "label": "b"}] x', "is not a JSON list .something follows"),
        ('["a", "b"]', "line 1: .*not a JSON object"),
        ("[]", "holds no row"),
    ],
)
def test_a_json_file_that_is_no_list_of_objects_gets_one_sentence(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_all("labeled_text", tmp_path / "a.json")


@pytest.mark.parametrize("names", [("article", "highlights"), ("document", "summary"), ("dialogue", "summary")])
def test_published_summaries_have_their_own_names(tmp_path, names):
    path = write(tmp_path / "a.jsonl", [dict(zip(names, ("a long text", "short"), strict=True))] * 2)
    assert read_all("summaries", path) == [Pair("a long text", "short")] * 2
    assert "summaries" in infer_format(path).formats


def test_pairs_come_from_a_list_too(tmp_path):
    path = write(tmp_path / "a.json", [{"source": "eins", "target": "one"}] * 2, as_list=True)
    assert read_all("pairs", path) == [Pair("eins", "one")] * 2 and infer_format(path).formats == ("pairs", "summaries")


# Texts


STORIES = [f"Story {i}.\n\nIt has two paragraphs." for i in range(30)]


@pytest.mark.parametrize("between", ["\n<|endoftext|>\n", "<|endoftext|>", "\r\n\r\n<|endoftext|>\r\n"])
def test_a_text_with_marks_is_split_into_documents_that_are_held_out_whole(tmp_path, between):
    path = tmp_path / "stories.txt"
    path.write_bytes((between.join(STORIES) + between).encode())
    source = open_text(path)
    pieces = {split: list(source.pieces(split)) for split in ("train", "val")}
    assert sorted(piece.text for split in pieces.values() for piece in split) == sorted(STORIES)
    assert all(piece.ends_document for split in pieces.values() for piece in split) and len(pieces["val"]) == 3
    assert "<|endoftext|> between" in source.description


def test_marks_split_documents_of_every_kind_of_file_but_not_of_programs(tmp_path):
    write(tmp_path / "a.jsonl", [{"text": "one<|endoftext|>"}, {"text": "two<|endoftext|>three"}])
    (tmp_path / "b.txt").write_text("four<|endoftext|>five")
    (tmp_path / "c.py").write_text('END = "<|endoftext|>"')
    source = open_text(tmp_path)
    documents = {*source.documents("train"), *source.documents("val")}
    assert documents == {"one", "two", "three", "four", "five", 'END = "<|endoftext|>"'}


@pytest.mark.parametrize("rows", [["one", "two"], [{"text": "one"}, {"text": "two"}]], ids=["texts", "objects"])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_json_file_of_texts_holds_documents(tmp_path, rows, as_list):
    path = write(tmp_path / "a.json", rows, as_list)
    source = open_text(path)
    assert {*source.documents("train"), *source.documents("val")} == {"one", "two"}
    assert infer_format(path).formats == ("text",)


@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "wordpiece", "gpt2"])
def test_the_mark_becomes_the_end_of_text_of_any_tokenizer(tmp_path, kind):
    path = tmp_path / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(STORIES))
    if kind == "gpt2" and not os.environ.get("TIKTOKEN_CACHE_DIR"):
        pytest.skip("TIKTOKEN_CACHE_DIR is not set")
    source = open_text(path)
    tokenizer = train_tokenizer(kind, source.documents("train"), 270 if kind == "bpe" else 60)
    tokens = build_tokens(source, tokenizer, tmp_path, progress=False)
    for split, n in ((tokens.train, 27), (tokens.val, 3)):
        ends = np.flatnonzero(split.tokens == tokenizer.end_of_text)
        assert len(ends) == n == split.n_documents and ends[-1] == len(split.tokens) - 1
        assert "endoftext" not in tokenizer.decode(split.tokens[: ends[0]].tolist())


def test_a_column_of_a_table_holds_documents(tmp_path):
    rows = "".join(f'"Hi, {i}",x\n' for i in range(5))
    for name, content, field in (
        ("a.csv", f"text,y\n{rows}", ""), ("b.csv", f"sep=,\nbody,y\n{rows}", "body"), ("c.csv", rows, "1"),
        ("d.tsv", rows.replace('"', "").replace(",x", "\tx"), "1"),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        where = f"{tmp_path / name}:{field}" if field else tmp_path / name
        source = open_text(where)
        assert {*source.documents("train"), *source.documents("val")} == {f"Hi, {i}" for i in range(5)}
        if field:
            assert infer_format(where).formats == ("text",)
    (tmp_path / "e.csv").write_text("names\nAnna\n")  # without such a column, the file is read as text, and says so
    source = open_text(tmp_path / "e.csv")
    assert "".join(source.documents("train")) == "names\nAnn"
    assert "it has no column 'text'; e.csv:NAME reads another" in source.description


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_documents_may_be_in_a_column_whose_name_is_in_upper_case(tmp_path, name):
    path, separator, texts = tmp_path / name, "\t" if name == "a.tsv" else ",", [f"Story {i}." for i in range(30)]
    path.write_text("".join(f"{i}{separator}{text}\n" for i, text in [("id", "TEXT"), *enumerate(texts)]))
    if name == "a.jsonl":
        write(path, [{"id": i, "TEXT": text} for i, text in enumerate(texts)])
    source = open_text(path)
    assert sorted([*source.documents("train"), *source.documents("val")]) == sorted(texts)
    assert infer_format(path).formats == ("text",)


@pytest.mark.parametrize(("text", "message"), [("a", "a single character"), (" \n\n", "nothing but white space")])
def test_a_text_without_text_is_one_sentence(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=f"a.txt (has|holds) {message}"):
        list(open_text(tmp_path / "a.txt").documents("train"))


@pytest.mark.parametrize("value", [None, float("nan"), 5, ["a"], {"a": 1}, True])
def test_a_document_that_is_no_text_is_named_with_its_line(tmp_path, value):
    path = write(tmp_path / "a.jsonl", [{"text": "one"}, {"text": value}, {"text": "two"}])
    with pytest.raises(UserError, match="a.jsonl, line 2: the field 'text' is"):
        list(open_text(path).documents("train"))
