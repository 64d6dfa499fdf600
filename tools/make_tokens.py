"""Writes tests/data/tokens.json: texts and the tokens that OpenAI's own tokenizer makes of them.

    pip install openai-whisper
    python tools/make_tokens.py
"""
import json
from pathlib import Path

import whisper.tokenizer

TEXTS = [
    "seven three zero nine", " Azul fell-awen, amek tettilim?", " Taqbaylit d tutlayt n Leqbayel: ɛ ɣ ḍ ḥ ṛ ṣ ṭ ẓ č ǧ.",
    " ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ", " It's what I've said; they'll, we'd, 'tis — don't!", "  two  spaces,\tand a tab\n\nand lines \n ",
    " 12,345.67 € № ½ ٣٤ 四十二", " 東京タワーへ行きます。", " สวัสดีครับ", " नमस्ते दुनिया", " مرحبا بالعالم", " 👩‍👩‍👧 🇩🇿 é e\u0301",
    " <|endoftext|><|en|> is text here", "\u00a0nbsp\u2003em", " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", " a", "", " ",
    " Σ σ ς ΑΒΓ Жизнь", " a_b-c/d\\e{f}[g](h)*&^%$#@!~`", " ǅ ʼn ª º ⅷ", " d'internet l'eau 'S 'VE",
]

tokenizer = whisper.tokenizer.get_tokenizer(True, num_languages=99)
out = [{"text": text, "tokens": tokenizer.encoding.encode(text, disallowed_special=())} for text in TEXTS]
path = Path(__file__).parent.parent / "tests/data/tokens.json"
path.write_text("[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in out) + "\n]\n")
