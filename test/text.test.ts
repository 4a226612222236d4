import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FastVLMError } from "../src/errors.ts";
import { Detokenizer } from "../src/text/detokenizer.ts";
import { tokenizePrompt } from "../src/text/prompt.ts";
import { whyEndless } from "../src/text/regex_guard.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { edited, golden, jsonOf, tokenizerOf } from "./golden_text.ts";
import { mutate, randomFrom } from "./mutate.ts";

const stream = (tokenizer: Tokenizer, ids: readonly number[], specials = false): string[] => {
  const detokenizer = new Detokenizer(tokenizer, { specials });
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
};

for (const [name, { vocab_len, specials, encode }] of Object.entries(golden.tokenizers)) {
  describe(`tokenizer ${name}`, () => {
    const tokenizer = tokenizerOf(name);

    test("knows its size and special tokens", () => {
      assert.equal(tokenizer.vocabSize, vocab_len);
      assert.ok(tokenizer.byteLevel);
      for (const [token, id] of Object.entries(specials)) {
        assert.equal(tokenizer.idOf(token), id);
        assert.ok(tokenizer.isSpecial(id));
      }
      assert.equal(tokenizer.idOf("<|nothing|>"), undefined);
    });

    for (const { text, ids, decoded } of encode) {
      test(JSON.stringify(text), () => {
        assert.deepEqual(tokenizer.encode(text, { specials: true }), ids);
        assert.equal(tokenizer.decode(ids, { specials: true }), decoded);
        assert.equal(stream(tokenizer, ids, true).join(""), decoded);
      });
    }

    test("text never becomes a special token", () => {
      const text = `${Object.keys(specials).join(" ")} and\n${Object.keys(specials).join("")}`;
      const ids = tokenizer.encode(text);
      assert.ok(ids.every((id) => !tokenizer.isSpecial(id)));
      assert.equal(tokenizer.decode(ids), text);
    });

    test("streams random tokens as they decode together, without half a character", () => {
      const random = randomFrom(1);
      for (let i = 0; i < 500; i++) {
        const ids = Array.from({ length: 1 + Math.floor(random() * 20) }, () => Math.floor(random() * vocab_len));
        assert.equal(stream(tokenizer, ids).join(""), tokenizer.decode(ids));
        assert.equal(stream(tokenizer, ids, true).join(""), tokenizer.decode(ids, { specials: true }));
      }
      const smile = tokenizer.encode("🙂");
      assert.ok(smile.length > 1);
      assert.deepEqual(stream(tokenizer, smile), [...smile.slice(1).map(() => ""), "🙂", ""]);
      assert.deepEqual(stream(tokenizer, smile.slice(0, -1)).at(-1), "\ufffd");
    });
  });
}

describe("tokenizers of other kinds", () => {
  test("added tokens with letters that spell bytes, and ids that are no token", () => {
    const json = edited("qwen", {
      "added_tokens.4": { id: 330, content: "été <b>", special: false },
      "added_tokens.5": { id: 331, content: " \t", special: false },
    });
    const tokenizer = new Tokenizer({ "tokenizer.json": json });
    assert.equal(tokenizer.vocabSize, 332);
    assert.deepEqual(tokenizer.encode("été <b> \t"), [330, 331]);
    assert.deepEqual(stream(tokenizer, [330, 327, 331]), ["été <b>", "", " \t", ""]);
  });

  test("tokens that swallow white space", () => {
    const flags = [0, 1, 2, 3, 4].flatMap((i) => [`added_tokens.${i}.lstrip`, `added_tokens.${i}.rstrip`]);
    const json = edited("phi4mini", Object.fromEntries(flags.map((flag) => [flag, true])));
    const tokenizer = new Tokenizer({ "tokenizer.json": json });
    const parts = [{ markup: "<|user|>" }, { text: " \n hi " }, { markup: "<|end|>" }];
    const [user, end] = [tokenizer.idOf("<|user|>")!, tokenizer.idOf("<|end|>")!];
    assert.deepEqual(tokenizePrompt(parts, tokenizer), [user, ...tokenizer.encode("hi"), end]);
  });

  test("special tokens that only tokenizer_config.json lists", () => {
    const image = { content: "<image>", special: true };
    const config = { added_tokens_decoder: { 323: image, 324: { content: "<|x|>", special: true } } };
    const files = { "tokenizer.json": jsonOf("qwen"), "tokenizer_config.json": JSON.stringify(config) };
    assert.deepEqual(new Tokenizer(files).encode("<image><|x|>", { specials: true }), [323, 324]);
  });

  test("vocab.json and merges.txt are the same tokenizer", () => {
    const { model, added_tokens } = JSON.parse(jsonOf("qwen")) as {
      model: { vocab: Record<string, number>; merges: string[][] };
      added_tokens: { content: string; id: number }[];
    };
    const tokenizer = new Tokenizer({
      "vocab.json": JSON.stringify(model.vocab),
      "merges.txt": `#version: 0.2\n${model.merges.map((pair) => pair.join(" ")).join("\n")}\n`,
      "added_tokens.json": JSON.stringify(Object.fromEntries(added_tokens.map(({ content, id }) => [content, id]))),
    });
    for (const { text, ids, decoded } of golden.tokenizers.qwen!.encode) {
      assert.deepEqual(tokenizer.encode(text, { specials: true }), ids);
      assert.equal(tokenizer.decode(ids, { specials: true }), decoded);
    }
  });

  // Llama's kind, which Phi-3 uses: words start with ▁, and bytes that no token spells are written <0xNN>.
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const spelled = new Tokenizer({
    "tokenizer.json": JSON.stringify({
      added_tokens: [{ id: 0, content: "</s>", special: true }],
      normalizer: {
        type: "Sequence",
        normalizers: [
          { type: "Prepend", prepend: "▁" },
          { type: "Replace", pattern: { String: " " }, content: "▁" },
        ],
      },
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: {
        type: "BPE",
        byte_fallback: true,
        unk_token: "</s>",
        vocab: Object.fromEntries(["</s>", ...bytes, "▁", "h", "i", "▁h", "▁hi"].map((token, id) => [token, id])),
        merges: ["▁ h", "▁h i"],
      },
    }),
  });

  test("without bytes, a text streams as it decodes", () => {
    assert.ok(!spelled.byteLevel);
    const ids = spelled.encode("hi hi 🙂h");
    assert.equal(spelled.decode(ids), "hi hi 🙂h");
    const pieces = stream(spelled, ids);
    assert.equal(pieces.join(""), "hi hi 🙂h");
    assert.deepEqual(pieces.slice(0, 2), ["hi", " hi"]);
    assert.ok(!pieces.some((piece) => piece.includes("\ufffd")));
    assert.deepEqual(stream(spelled, [0, spelled.idOf("▁hi")!, 0]), ["", "hi", "", ""]);
  });

  test("without bytes, an endless run of half characters still comes out", () => {
    const pieces = stream(spelled, new Array<number>(100).fill(spelled.idOf("<0xF0>")!));
    assert.ok(pieces.slice(0, -1).some((piece) => piece !== ""));
  });
});

describe("malformed tokenizers are refused by name", () => {
  const words = "pre_tokenizer.pretokenizers.0.pattern";
  const endless = /pre_tokenizer\.pretokenizers\.0\.pattern: this pattern could take forever/;
  const broken: [path: string, value: unknown, message: RegExp][] = [
    ["model", undefined, /tokenizer\.json: model: expected an object/],
    ["model.type", "Unigram", /model\.type: expected "BPE", got "Unigram"/],
    ["model.vocab", ["a"], /model\.vocab: expected an object/],
    ["model.vocab.!", -1, /model\.vocab: expected an id for "!"/],
    ["model.vocab.!", 1e12, /model\.vocab: expected an id for "!"/],
    ["model.merges", undefined, /model\.merges: expected a list/],
    ["model.merges.3", ["a", "b", "c"], /model\.merges\[3\]: expected two tokens/],
    ["model.merges.3", "a b", /model\.merges\[3\]: expected two tokens/],
    ["model.continuing_subword_prefix", "##", /continuing_subword_prefix: not supported/],
    ["added_tokens", {}, /added_tokens: expected a list/],
    ["added_tokens.1.id", undefined, /added_tokens\[1\]: expected an id/],
    ["added_tokens.0.content", "", /added_tokens\[0\]: expected an id and a content/],
    ["normalizer", { type: "Rot13" }, /not supported: .*Rot13/],
    ["normalizer", "NFC", /normalizer: expected an object/],
    ["pre_tokenizer", { type: "FixedLength", length: 0 }, /length: expected at least 1/],
    [`${words}.Regex`, "(\\p{L}+)+$", endless],
    [words, 7, /pattern: expected a pattern/],
    [`${words}.Regex`, "(", /tokenizer\.json: not supported/],
  ];
  for (const [path, value, message] of broken) {
    test(`${path} = ${JSON.stringify(value)}`, () => {
      const json = edited("qwen", { [path]: value });
      assert.throws(() => new Tokenizer({ "tokenizer.json": json }), { name: "TextError", message });
    });
  }

  test("files that are missing, of another kind or no JSON", () => {
    assert.throws(() => new Tokenizer({}), { name: "TextError", message: /expected tokenizer\.json/ });
    assert.throws(() => new Tokenizer({ "tokenizer.json": "{" }), {
      name: "TextError",
      message: /tokenizer\.json: not valid JSON/,
    });
    assert.throws(() => new Tokenizer({ "tokenizer.json": "[]" }), {
      name: "TextError",
      message: /tokenizer\.json: expected a JSON object/,
    });
    const files = {
      "vocab.json": "{}",
      "merges.txt": "",
      "tokenizer_config.json": '{"tokenizer_class":"GPT2Tokenizer"}',
    };
    assert.throws(() => new Tokenizer(files), { name: "TextError", message: /tokenizer_class: .* got GPT2Tokenizer/ });
  });

  test("patterns in use come to an end, dangerous ones are told", () => {
    for (const name of Object.keys(golden.tokenizers)) {
      assert.equal(whyEndless(JSON.parse(jsonOf(name)).pre_tokenizer.pretokenizers[0].pattern.Regex), undefined);
    }
    for (const pattern of [
      "(a+)+$",
      "(?:a|a)*b",
      "([ab]{2,})*",
      "((a{1,40})b){1,40}",
      "\\s*\\s*\\s*\\s*x",
      "a".repeat(5000),
    ]) {
      assert.ok(whyEndless(pattern), pattern);
    }
    for (const pattern of ["(?:\\r\\n)+", "[(+*|)]+", "\\(a+\\)+", "\\p{L}{1,3}", "(?:a|b)?c+", "(?!\\S+)a*"]) {
      assert.equal(whyEndless(pattern), undefined, pattern);
    }
  });

  test("500 mutations each encode and decode, or give a typed error", () => {
    for (const name of Object.keys(golden.tokenizers)) {
      const random = randomFrom(name.length);
      const file = new TextEncoder().encode(jsonOf(name));
      let refused = 0;
      for (let i = 0; i < 500; i++) {
        const json = new TextDecoder().decode(mutate(file, random));
        try {
          const tokenizer = new Tokenizer({ "tokenizer.json": json });
          const ids = tokenizer.encode("The image's 12345  naïve 日本🙂\n\n<|im_end|>", { specials: true });
          assert.equal(typeof stream(tokenizer, ids).join(""), "string");
        } catch (error) {
          if (!(error instanceof FastVLMError)) throw error;
          refused++;
        }
      }
      assert.ok(refused > 50, `only ${refused} of 500 mutations were refused`);
    }
  });
});
