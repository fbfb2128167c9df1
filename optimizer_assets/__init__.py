"""The AI compiler: reads outcomes, finds better prompts, proves them, promotes them."""
