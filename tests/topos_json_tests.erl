-module(topos_json_tests).
-include_lib("eunit/include/eunit.hrl").

encode_test_() ->
    Cases = [
        {#{b => 1, a => <<"x">>}, <<"{\"a\":\"x\",\"b\":1}">>},
        {[], <<"[]">>},
        {#{}, <<"{}">>},
        {[true, false, null, ok, 1.5, -3], <<"[true,false,null,\"ok\",1.5,-3]">>},
        {<<"\"\\\n", 127, "ż🦀"/utf8>>, <<"\"\\\"\\\\\\u000a\\u007fż🦀\""/utf8>>},
        {#{<<"k\"">> => [#{}]}, <<"{\"k\\\"\":[{}]}">>}
    ],
    [?_assertEqual(Text, iolist_to_binary(topos_json:encode(Value))) || {Value, Text} <- Cases]
        ++ [?_assertError(badarg, topos_json:encode(<<255>>))].
