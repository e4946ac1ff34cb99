"""How PixelZoo is drawn: shapes -> animals -> scenes -> pixels."""
