-- What was answered at least once, for `outbox`: why it waits, and what may be sent again by hand.
CREATE INDEX outbox_told ON outbox (account, state, reason) WHERE reason IS NOT NULL;
