-- The best that a database alone does: balance, entry, counter-entry and idempotency key in one stored function,
-- called once per spend by pgbench, without a program in between. The counter-entry touches no row that all share.
DROP TABLE IF EXISTS account, entry, spent;
CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0));
CREATE TABLE entry (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account INT NOT NULL, counter TEXT NOT NULL,
    amount BIGINT NOT NULL, after BIGINT);
CREATE INDEX entry_account ON entry (account, id);
CREATE TABLE spent (key TEXT PRIMARY KEY, entry BIGINT NOT NULL);
INSERT INTO account SELECT n, 1000000000 FROM generate_series(1, 10000) n;

CREATE OR REPLACE FUNCTION spend(who INT, amount_ BIGINT, key_ TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE left_ BIGINT; made BIGINT;
BEGIN
    UPDATE account SET balance = balance - amount_ WHERE id = who AND balance >= amount_ RETURNING balance INTO left_;
    IF NOT FOUND THEN RAISE EXCEPTION 'insufficient credits'; END IF;
    INSERT INTO entry (account, counter, amount, after) VALUES (who, 'own', -amount_, left_) RETURNING id INTO made;
    INSERT INTO entry (account, counter, amount) VALUES (who, 'revenue', amount_);
    INSERT INTO spent VALUES (key_, made);
    RETURN left_;
END $$;
