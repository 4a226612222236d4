// A conversation about a picture: node examples/chat.ts [MODEL] [PICTURE]
import { fileURLToPath } from "node:url";
import { FastVLM } from "../src/node.ts"; // in a project of yours: from "fastvlm"

const tiny = fileURLToPath(new URL("../weights/fastvlm-tiny", import.meta.url));
const [model = tiny, image = `${tiny}/samples/picture.jpg`] = process.argv.slice(2);

const vlm = await FastVLM.load(model);
// A session keeps what the model has read: a follow-up reads only what is new, and no picture twice.
const session = vlm.session({ maxTokens: 48, temperature: 0.2, seed: 1, overflow: "drop-oldest" });

const turns = [
  [
    { type: "image", image },
    { type: "text", text: "What is in the picture?" },
  ],
  "How many apples are there?",
  "Where is the dog?",
] as const;
for (const turn of turns) {
  console.log(`? ${typeof turn === "string" ? turn : turn[1].text}`);
  for await (const { text, result } of session.ask(turn)) {
    process.stdout.write(text);
    if (result) console.log(`\n  ${result.usage.cachedTokens} of ${result.usage.promptTokens} tokens were known`);
  }
}
console.log(`${session.messages.length} messages`);

session.close();
vlm.close();
