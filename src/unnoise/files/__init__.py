"""Files on the border: headers, cards, models, pictures with their recipes; nothing here executes what a file says."""
