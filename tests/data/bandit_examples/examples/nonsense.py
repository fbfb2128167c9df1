test(hi
