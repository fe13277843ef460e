# Adds up the closing lines of test runners; prints "PASSED FAILED".
#   cargo test   test result: ok. 5 passed; 0 failed; 0 ignored; ...
#   pytest       5 passed, 1 failed, 1 error in 1.23s
#   nextest      Summary [ 1.2s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 0 skipped
{ gsub(/\033\[[0-9;]*m/, "") }
/^(=+ )?[0-9]+ (passed|failed|errors?|skipped|warnings?)[, ].* in [0-9.]+s/ || /^test result: / || /^ *Summary \[.*\] .*tests? run:/ {
    line = $0
    sub(/^.*(test result:|run:)/, "", line)
    gsub(/\([^)]*\)/, "", line)
    n = split(line, parts, /[,;]/)
    for (i = 1; i <= n; i++) {
        if (match(parts[i], /[0-9]+ passed/)) passed += substr(parts[i], RSTART)
        else if (match(parts[i], /[0-9]+ (failed|timed out|exec failed|errors?)/)) failed += substr(parts[i], RSTART)
    }
}
END { print passed + 0, failed + 0 }
