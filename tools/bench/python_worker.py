#!/usr/bin/env python3
"""Transcribes with faster-whisper, or with transformers, as the other engines are asked to: a process that stays.

    python_worker.py faster-whisper MODEL COMPUTE_TYPE WORKERS THREADS
    python_worker.py transformers CHECKPOINT THREADS

Reads a line of JSON for each piece of work from standard input and answers with one:

    {"file": "speech.wav", "tokens": 20}                    {"seconds": 1.5, "tokens": 20}
    {"file": "speech.wav", "tokens": 120, "batch": 8}       faster-whisper's batched pipeline, in windows of 30 s
    {"clients": [["a.wav", "b.wav"], …], "tokens": 20}      each list one after the other, the lists at once

`tokens` of the question are those of a window, of the answer all that came. Random weights don't end a text, and must
not: tokens that are no text are forbidden.
"""
import concurrent.futures, json, sys, time, wave

LANGUAGE, BEAMS, WINDOW = "en", 5, 30
END, VOCABULARY = 50257, 51865  # of multilingual models; from the first on, no token is text
PROMPT = [50258, 50259, 50359, 50363]  # <|startoftranscript|><|en|><|transcribe|><|notimestamps|>


class FasterWhisper:
    def __init__(self, model, compute_type, workers, threads):
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        self.model = WhisperModel(
            model, device="cpu", compute_type=compute_type, cpu_threads=int(threads), num_workers=int(workers))
        self.batched = BatchedInferencePipeline(self.model)

    def transcribe(self, file, tokens, batch=None):
        options = dict(
            language=LANGUAGE, beam_size=BEAMS, temperature=0, without_timestamps=True,
            condition_on_previous_text=False, vad_filter=False, compression_ratio_threshold=None,
            log_prob_threshold=None, no_speech_threshold=None, suppress_tokens=list(range(END, VOCABULARY)),
            # faster-whisper adds the prompt's four, and CTranslate2 then takes half of it for the text.
            max_new_tokens=2 * tokens - len(PROMPT))
        if batch:
            with wave.open(file) as recording:
                seconds = recording.getnframes() / recording.getframerate()
            windows = [{"start": at, "end": min(at + WINDOW, seconds)} for at in range(0, int(seconds), WINDOW)]
            segments, _ = self.batched.transcribe(file, batch_size=batch, clip_timestamps=windows, **options)
        else:
            segments, _ = self.model.transcribe(file, **options)
        return sum(len(segment.tokens) for segment in segments)


class Transformers:
    """As the Python server does it that imesli replaces: 32-bit floats, the whole file as one window."""

    def __init__(self, checkpoint, threads):
        import torch
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
        from transformers.utils import logging

        logging.set_verbosity_error()
        torch.set_num_threads(int(threads))
        self.torch = torch
        self.model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.extract = WhisperFeatureExtractor.from_pretrained(checkpoint)

    def transcribe(self, file, tokens):
        import numpy as np

        with wave.open(file) as recording:
            audio = np.frombuffer(recording.readframes(recording.getnframes()), "<i2").astype(np.float32) / 32768
        features = self.extract(audio, sampling_rate=16000, return_tensors="pt").input_features
        with self.torch.inference_mode():
            found = self.model.generate(
                features, num_beams=BEAMS, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens,
                decoder_input_ids=self.torch.tensor([PROMPT]))[0].tolist()
        return len(found) - (len(PROMPT) if found[:len(PROMPT)] == PROMPT else 0)


def work(engine, request):
    tokens = request["tokens"]
    if "clients" not in request:
        more = {"batch": request["batch"]} if "batch" in request else {}
        return engine.transcribe(request["file"], tokens, **more)
    with concurrent.futures.ThreadPoolExecutor(len(request["clients"])) as pool:
        return sum(pool.map(
            lambda files: sum(engine.transcribe(file, tokens) for file in files), request["clients"]))


def main(kind, *arguments):
    engine = {"faster-whisper": FasterWhisper, "transformers": Transformers}[kind](*arguments)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.perf_counter()
        tokens = work(engine, request)
        print(json.dumps({"seconds": time.perf_counter() - begun, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
