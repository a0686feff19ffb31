"""The production guide's checklists: `lists` has its lines, `looks` looks, `judgement` says what is right."""
