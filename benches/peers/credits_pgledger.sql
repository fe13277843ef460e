-- 10,000 accounts of pgledger that may be drawn on, and the account of the revenue of each hundred of them.
CREATE TABLE bench_account (n INT PRIMARY KEY, id TEXT NOT NULL);
INSERT INTO bench_account SELECT n, (pgledger_create_account('bench ' || n, 'USD')).id FROM generate_series(1, 10100) n;
