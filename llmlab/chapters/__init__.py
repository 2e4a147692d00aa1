"""The chapters: experiments, claims, exercises of each. A chapter registers itself by being there
(lab.registry).
"""
