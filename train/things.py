"""What the pictures show: things (Noto emoji), shapes, colours, places, words."""

# name: (icon of @iconify-json/noto, plural)
THINGS = {
    "dog": ("dog-face", "dogs"), "cat": ("cat-face", "cats"), "mouse": ("mouse-face", "mice"),
    "rabbit": ("rabbit-face", "rabbits"), "bear": ("bear", "bears"), "panda": ("panda", "pandas"),
    "lion": ("lion", "lions"), "cow": ("cow-face", "cows"), "pig": ("pig-face", "pigs"), "frog": ("frog", "frogs"),
    "monkey": ("monkey-face", "monkeys"), "penguin": ("penguin", "penguins"), "owl": ("owl", "owls"),
    "horse": ("horse", "horses"), "elephant": ("elephant", "elephants"), "turtle": ("turtle", "turtles"),
    "fish": ("tropical-fish", "fish"), "whale": ("spouting-whale", "whales"), "octopus": ("octopus", "octopuses"),
    "crab": ("crab", "crabs"), "butterfly": ("butterfly", "butterflies"), "bee": ("honeybee", "bees"),
    "snail": ("snail", "snails"), "apple": ("red-apple", "apples"), "pear": ("pear", "pears"),
    "lemon": ("lemon", "lemons"), "banana": ("banana", "bananas"), "melon": ("watermelon", "melons"),
    "strawberry": ("strawberry", "strawberries"), "pineapple": ("pineapple", "pineapples"),
    "carrot": ("carrot", "carrots"), "mushroom": ("mushroom", "mushrooms"), "pizza": ("pizza", "pizzas"),
    "hamburger": ("hamburger", "hamburgers"), "donut": ("doughnut", "donuts"), "cake": ("birthday-cake", "cakes"),
    "egg": ("egg", "eggs"), "car": ("automobile", "cars"), "bus": ("bus", "buses"), "tractor": ("tractor", "tractors"),
    "bicycle": ("bicycle", "bicycles"), "airplane": ("airplane", "airplanes"), "rocket": ("rocket", "rockets"),
    "boat": ("sailboat", "boats"), "train": ("locomotive", "trains"), "balloon": ("balloon", "balloons"),
    "umbrella": ("umbrella", "umbrellas"), "key": ("key", "keys"), "hammer": ("hammer", "hammers"),
    "pencil": ("pencil", "pencils"), "book": ("open-book", "books"),
    "lamp": ("light-bulb", "lamps"), "clock": ("alarm-clock", "clocks"), "camera": ("camera", "cameras"),
    "phone": ("mobile-phone", "phones"), "guitar": ("guitar", "guitars"), "drum": ("drum", "drums"),
    "football": ("soccer-ball", "footballs"), "crown": ("crown", "crowns"), "gift": ("wrapped-gift", "gifts"),
    "bell": ("bell", "bells"), "chair": ("chair", "chairs"), "house": ("house", "houses"),
    "tree": ("deciduous-tree", "trees"), "cactus": ("cactus", "cacti"), "flower": ("sunflower", "flowers"),
    "rose": ("rose", "roses"), "snowman": ("snowman", "snowmen"), "shoe": ("running-shoe", "shoes"),
}

SHAPES = {
    "circle": "circles", "square": "squares", "triangle": "triangles", "star": "stars", "diamond": "diamonds",
    "ring": "rings",
}

COLOURS = {
    "red": (214, 40, 40), "orange": (245, 133, 24), "yellow": (250, 214, 30), "green": (44, 150, 60),
    "blue": (36, 90, 214), "purple": (128, 52, 170), "pink": (246, 140, 190), "brown": (120, 72, 34),
    "black": (20, 20, 20), "white": (245, 245, 245), "gray": (128, 128, 128),
}

KINDS = [*THINGS, *SHAPES]
PLURAL = {**{name: plural for name, (_, plural) in THINGS.items()}, **SHAPES}

# Nine places, row by row, and how one speaks of them.
PLACES = [
    "at the top left", "at the top", "at the top right",
    "on the left", "in the middle", "on the right",
    "at the bottom left", "at the bottom", "at the bottom right",
]
NUMBERS = ["no", "one", "two", "three", "four"]

# Printed in capitals. Three to six letters, every letter of the alphabet several times.
WORDS = """
ALARM APRIL BAKER BEACH BLACK BOAT BOX BRIDGE BUTTON CAKE CANDLE CHAIR CHEESE CITY CLOSED COFFEE CORNER CROWN DANGER
DINNER DOOR DREAM EAGLE EAST ENJOY FABLE FARM FIELD FIRE FLAG FLOWER FOX FRESH GALAXY GATE GLASS GRAPE GUITAR HAPPY
HAZEL HELLO HILL HOTEL ICE ISLAND JACKET JELLY JUICE JUMP JUNGLE KING KIWI KOALA LAKE LEMON LION LUNCH MAPLE MARKET
MELON MILK MONDAY MOUSE NEST NIGHT NORTH OASIS OLIVE OPEN OWL PAPER PEACE PHOTO PILOT PLANET POST QUARTZ QUICK QUIZ
RAIN RED ROBOT ROSE SALE SCHOOL SILVER SLOW SNOW SPRING STOP SUGAR SUN TAXI TIGER TOWER TREE TURN UNION VELVET VIVID
WATER WAX WHITE WINTER WOOD YACHT YELLOW YOGURT ZERO ZONE
""".split()
