"""From bytes to normalised events or typed rejections, without any I/O.

bytes ─ framing ─▶ documents ─ unwrap ─▶ SES payloads ─ normalise ─▶ SesEvents
           └──────────────────────┴─────────────────────────┴──────▶ DeadLetters
"""
