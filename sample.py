"""Write text with a trained model.

    python train.py                                                    # makes runs/storyworld
    python sample.py runs/storyworld --prompt "Once there was"         # continues the prompt
    python sample.py runs/storyworld --prompt "Anna" --n 3             # in three ways
    python sample.py runs/storyworld --interactive                     # asks for prompts
    python sample.py --help                                            # temperature, top-k, top-p, stop strings, …

The same from Python:

    from llmasos.generation import SamplingOptions, generate
    from llmasos.models import load_model
    from llmasos.tokenizers import load_tokenizer

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    print(generate(model, tokenizer, ["Once there was"], SamplingOptions(temperature=0.8))[0].text)

How it works: `llmasos/generation/naive.py` is the whole idea in fifteen lines, `sampling.py` the rules by which a
token is chosen, `decoder.py` the fast way. The command itself is `llmasos/cli/sample.py`.
"""

import _signal  # the part of `signal` that is built in: there at once
import sys

if __name__ == "__main__":
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until `main` listens, Ctrl-C ends the process without a traceback

from llmasos.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["sample", *sys.argv[1:]]))
