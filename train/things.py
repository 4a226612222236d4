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
ALARM AMBER APRIL ARROW BAKER BANK BEACH BIRD BLACK BLUE BOAT BOOK BOX BREAD BRIDGE BRUSH BUTTON CAFE CAKE CAMP CANDLE
CASTLE CHAIR CHALK CHEESE CHESS CITY CLOCK CLOSED CLOUD COFFEE COLD CORNER COTTON CROWN DANCE DANGER DESK DINNER DOCTOR
DOOR DRAGON DREAM DRIVE EAGLE EARTH EAST ENGINE ENJOY EXIT FABLE FAMILY FARM FAST FIELD FINGER FIRE FISH FLAG FLOOR
FLOWER FOREST FOX FREE FRESH FRIDAY GALAXY GARDEN GATE GIANT GLASS GOLD GRAPE GREEN GUITAR HAMMER HAPPY HARBOR HAZEL
HEART HELLO HELP HILL HONEY HOTEL HOUSE ICE INK ISLAND IVORY JACKET JAZZ JELLY JOKER JUICE JULY JUMP JUNE JUNGLE KEY
KING KITE KIWI KNIFE KOALA LADDER LAKE LAMP LEMON LIGHT LION LUCKY LUNCH MAGIC MAPLE MARCH MARKET MAY MELON METRO MILK
MINT MONDAY MOON MOUSE MUSIC NEST NEW NIGHT NOON NORTH NUMBER OASIS OCEAN OLIVE ONION OPEN ORANGE OWL PANDA PAPER PARK
PEACE PEPPER PHOTO PIANO PILOT PIZZA PLANET POLICE POST PUZZLE QUARTZ QUEEN QUICK QUIET QUIZ RADIO RAIN RAVEN RED RIVER
ROBOT ROCKET ROSE ROYAL SALE SALT SCHOOL SHIP SILVER SKY SLOW SMILE SNOW SOUTH SPRING STAR STOP STREET SUGAR SUMMER SUN
TABLE TAXI TEA TIGER TOAST TOWER TRAIN TREE TULIP TURN UNCLE UNION VALLEY VELVET VIOLIN VIVID WAGON WATER WAVE WAX WEST
WHITE WINDOW WINTER WOLF WOOD XYLEM YACHT YARD YELLOW YES YOGURT ZEBRA ZERO ZIGZAG ZONE ZOO
""".split()
