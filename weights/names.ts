/** Order of the parts of stages 0 to 4 in Apple's flat `network` list; timm nests the same parts by stage. */
const NETWORK = [
  "stages.0.blocks",
  "stages.1.downsample",
  "stages.1.blocks",
  "stages.2.downsample",
  "stages.2.blocks",
  "stages.3.downsample",
  "stages.3.pos_emb",
  "stages.3.blocks",
  "stages.4.downsample",
  "stages.4.pos_emb",
  "stages.4.blocks",
];

const MODULES: Readonly<Record<string, string>> = {
  stem: "patch_embed",
  final_conv: "conv_exp",
  mlp: "convffn",
  // Branches of the training form, which inference checkpoints have folded away.
  conv_kxk: "rbr_conv",
  conv_scale: "rbr_scale",
  identity: "rbr_skip",
  large_conv: "lkb_origin",
  pos_enc: "pe",
};

/**
 * Apple's name (mobileclip `mci.py`) for a module or tensor of FastViTHD, from its timm name (`fastvit_mci3`).
 *
 *     appleNames("stages.1.downsample.proj.0.reparam_conv.weight")  // "network.1.proj.0.lkb_reparam.weight"
 */
export function appleNames(timm: string): string {
  const words = timm.split(".");
  const index = NETWORK.findIndex((part) => timm === part || timm.startsWith(`${part}.`));
  const inner = index < 0 ? words : words.slice(3);
  // In a downsample the large-kernel convolution is proj.0; its folded form has a name of its own.
  const large = NETWORK[index]?.endsWith("downsample") && inner[0] === "proj" && inner[1] === "0";
  const translated = inner.map((word, i) => {
    if (large && word === "reparam_conv") return "lkb_reparam";
    return moduleName(word, inner[i - 1]);
  });
  const path = index < 0 ? translated : ["network", index, ...translated];
  return path.filter((word) => word !== "").join(".");
}

function moduleName(word: string, parent: string | undefined): string {
  // timm wraps the vector in a module.
  if (word === "gamma" && parent?.startsWith("layer_scale")) return "";
  if (parent === "se" && word === "fc1") return "reduce";
  if (parent === "se" && word === "fc2") return "expand";
  return MODULES[word] ?? word;
}
