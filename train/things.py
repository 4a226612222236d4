"""What the pictures are made of: things, shapes, colours, words and places."""
import os
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ASSETS = Path(os.environ.get("FASTVLM_ASSETS", "assets"))
"""Folder with `png/` (from render.mjs) and `node_modules/` (the fonts)."""

NOUNS = """airplane anchor apple ball balloon banana bear bell bicycle boat book burger bus butterfly
cactus cake camera car carrot cat chair cherry chick clock cloud crown cup dog donut drum elephant fish
flower frog gift grape guitar hat heart horse house key lamp lemon lion monkey moon mouse mushroom octopus
panda pencil phone pizza robot rocket rose shoe snowman star strawberry sun tractor train tree turtle
umbrella whale""".split()
SHAPES = ["circle", "square", "triangle", "diamond", "cross"]
KINDS = NOUNS + SHAPES

COLOURS = {
    "red": (214, 50, 45), "green": (60, 165, 75), "blue": (55, 105, 215), "yellow": (246, 216, 70),
    "white": (246, 246, 246), "black": (28, 28, 28), "purple": (135, 70, 180), "pink": (246, 160, 195),
    "gray": (130, 130, 130), "orange": (242, 145, 40),
}
COLOUR_NAMES = list(COLOURS)

PLACES = ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"]

WORDS = """GO NO UP ON OK HI IN ME WE US SUN SEA SKY DAY ICE TEA EGG ZOO FUN BIG RED HOT CUP MAP BOX JAM KEY
VAN WEB YES NEW OLD TOP BUS CAR CAT DOG FOX JOY LAW MIX PIE RAW TAX STOP EXIT OPEN SALE TAXI FOOD CAFE BANK
PARK SHOP FISH MILK LOVE HOME WAIT SLOW FAST PLAY PUSH PULL MENU BOOK COLD JUMP KING LION MOON NEWS QUIZ RAIN
SNOW STAR TIME TREE VOTE WIND ZERO WIFI JAZZ HELP FREE GIFT HOTEL PIZZA BREAD WATER SUGAR MUSIC RADIO HELLO
WORLD HAPPY LUCKY OCEAN RIVER TIGER ZEBRA APPLE LEMON MANGO PEACH GREEN BLACK WHITE QUEEN HEART LIGHT NIGHT
POWER SMILE STORM TRAIN TRUCK VIDEO VALUE WATCH YOUNG EXTRA FLASH GHOST JUICE KAYAK""".split()


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def plural(noun):
    irregular = {"mouse": "mice", "fish": "fish", "bus": "buses", "octopus": "octopuses", "cactus": "cacti",
                 "snowman": "snowmen", "cross": "crosses"}
    *head, last = noun.split(" ")
    if last in irregular:
        last = irregular[last]
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*head, last])


def at(place):
    return ("in the " if place == "center" else "at the ") + place


def join(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


@lru_cache(None)
def emoji(noun):
    return Image.open(ASSETS / "png" / f"{noun}.png").convert("RGBA")


@lru_cache(None)
def shape_mask(kind):
    """A 128 x 128 mask, drawn large and reduced so that its edges are smooth."""
    n = 512
    mask = Image.new("L", (n, n))
    draw = ImageDraw.Draw(mask)
    lo, hi, mid = int(n * 0.06), int(n * 0.94), n // 2
    if kind == "circle":
        draw.ellipse((lo, lo, hi, hi), fill=255)
    elif kind == "square":
        draw.rectangle((lo + 20, lo + 20, hi - 20, hi - 20), fill=255)
    elif kind == "triangle":
        draw.polygon([(mid, lo), (hi, hi - 20), (lo, hi - 20)], fill=255)
    elif kind == "diamond":
        draw.polygon([(mid, lo), (hi - 50, mid), (mid, hi), (lo + 50, mid)], fill=255)
    else:
        arm = n // 8
        draw.rectangle((mid - arm, lo, mid + arm, hi), fill=255)
        draw.rectangle((lo, mid - arm, hi, mid + arm), fill=255)
    return mask.resize((128, 128), Image.LANCZOS)


FONT_FILES = [
    "dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf", "dejavu-fonts-ttf/ttf/DejaVuSansCondensed-Bold.ttf",
    "dejavu-fonts-ttf/ttf/DejaVuSerif-Bold.ttf", "dejavu-fonts-ttf/ttf/DejaVuSansMono-Bold.ttf",
    "@fontsource/roboto/files/roboto-latin-700-normal.woff",
    "@fontsource/roboto/files/roboto-latin-900-normal.woff",
    "@fontsource/merriweather/files/merriweather-latin-700-normal.woff",
    "@fontsource/inconsolata/files/inconsolata-latin-700-normal.woff",
    "@fontsource/baloo-2/files/baloo-2-latin-700-normal.woff",
]


@lru_cache(None)
def font(index, size):
    return ImageFont.truetype(str(ASSETS / "node_modules" / FONT_FILES[index]), size)
