import { readFile, realpath } from "node:fs/promises";
import { createServer } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { extname, sep } from "node:path";
import { fileURLToPath } from "node:url";

const MIME: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".jinja": "text/plain; charset=utf-8",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".safetensors": "application/octet-stream",
  ".json": "application/json",
  ".ts": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
  ".wgsl": "text/plain; charset=utf-8",
};

export interface SourceServer {
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Serves the repository's files to browsers on this machine, TypeScript with its types stripped, so that a page runs the
 * sources as they are. Listens on a free port of the loopback interface.
 */
export async function serveSources(): Promise<SourceServer> {
  const root = await realpath(fileURLToPath(new URL("../../", import.meta.url)));
  const server = createServer(async (request, response) => {
    const { status, type, body } = await answer(root, request.method ?? "", request.url ?? "");
    response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
}

const refuse = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

async function answer(root: string, method: string, url: string): Promise<Answer> {
  if (method !== "GET") return refuse(405, "only GET");
  try {
    const asked = decodeURIComponent(url.split("?")[0]!);
    // The real path, so that neither `..` nor a symbolic link leads out of the repository.
    const path = await realpath(root + sep + asked);
    const type = MIME[extname(path)];
    if (!path.startsWith(root + sep) || !type) return refuse(403, `${asked}: not served`);
    const body = await readFile(path);
    return { status: 200, type, body: path.endsWith(".ts") ? stripTypeScriptTypes(body.toString()) : body };
  } catch (error) {
    if (error instanceof URIError) return refuse(400, "malformed path");
    const missing = /^(ENOENT|ENOTDIR)$/.test((error as NodeJS.ErrnoException).code ?? "");
    return missing ? refuse(404, "no such file") : refuse(500, String(error));
  }
}
