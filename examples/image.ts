// Questions about pictures: node examples/image.ts [MODEL] [PICTURE …]
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { FastVLM } from "../src/node.ts"; // in a project of yours: from "fastvlm"

const tiny = fileURLToPath(new URL("../weights/fastvlm-tiny", import.meta.url));
const [model = tiny, ...pictures] = process.argv.slice(2);
if (pictures.length === 0) pictures.push(`${tiny}/samples/picture.jpg`, `${tiny}/samples/sign.jpg`);

const vlm = await FastVLM.load(model);

// One picture, by its path. Text comes as it is made; the last piece carries figures.
for await (const { text, result } of vlm.generate({ images: [pictures[0]!], prompt: "What is in the picture?" })) {
  process.stdout.write(text);
  if (result)
    console.log(`\n  ${result.tokens.length} tokens, the first after ${result.timings.firstToken.toFixed(0)} ms`);
}

// Each picture by itself, from bytes, at once: answers that overlap are made together.
async function describe(path: string): Promise<string> {
  const bytes = new Uint8Array(await readFile(path));
  let answer = "";
  for await (const { text } of vlm.generate({ images: [bytes], prompt: "Describe the image.", maxTokens: 48 }))
    answer += text;
  return `${path.split("/").at(-1)}: ${answer}`;
}
for (const line of await Promise.all(pictures.map(describe))) console.log(line);

vlm.close();
