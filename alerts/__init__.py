"""Which alerts each chat gets, in which words and when: published, bundled, held back, in digests and charts."""
