"""The parts of `tercet serve`: what is answered, how requests are received and computed, the page."""
