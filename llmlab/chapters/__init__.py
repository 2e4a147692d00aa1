"""The chapters: experiments, claims and exercises of each; a chapter registers itself by being there."""
