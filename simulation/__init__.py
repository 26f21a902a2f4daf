"""The parts of simulator.py: wire, updates and conflicts, chats, people, markets."""
