#!/usr/bin/env python3
"""Compares the error rates of a report with those of jiwer, on the same texts.

    target/release/convert --checkpoint DIR --quantize q8_0 --eval MANIFEST --json >report.json
    venv/bin/python tools/check_error_rates.py report.json      # pip install jiwer

The texts are normalised here once more, from what Unicode says of each character, so that this is checked, too.
Fails where a rate differs. An orthography must not have been asked for: there is one implementation of that.
"""

import json
import sys
import unicodedata

import jiwer


def comparable(text: str, how: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if how == "normalized":
        text = unicodedata.normalize("NFC", text.lower())
        # Letters, marks and numbers stay; punctuation, symbols and control characters become spaces.
        text = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(text.split())


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    if report["orthography"] != "none":
        sys.exit("this report was made with an orthography")
    how, texts = report["text"], report["texts"]
    said = [comparable(text["sentence"], how) for text in texts]
    wrong = 0
    for row in report["types"]:
        found = [comparable(text["found"][row["type"]], how) for text in texts]
        for name, ours, theirs in (
            ("WER", row["word_error_rate"], jiwer.wer(said, found)),
            ("CER", row["character_error_rate"], jiwer.cer(said, found)),
        ):
            same = abs(ours - theirs) < 1e-12
            wrong += not same
            print(f"{row['type']} {name}: imesli {ours:.6f}, jiwer {theirs:.6f}{'' if same else '  DIFFERENT'}")
    print(f"{len(texts)} texts, {'all equal' if wrong == 0 else f'{wrong} rates differ'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
