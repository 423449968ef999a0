"""The stages of CodeRL: `pretrain` the backbone, gather `experience`, `reinforce` the actor; `plan`
says how long each is trained.
"""
