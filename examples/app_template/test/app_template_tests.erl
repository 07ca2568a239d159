-module(app_template_tests).

-include_lib("eunit/include/eunit.hrl").

total_test() ->
    ?assertEqual(70, 'Shop.Cart':total([#{name => <<"tea">>, price => 30, count => 2},
                                       #{name => <<"milk">>, price => 10, count => 1}])).

order_test_() ->
    {setup,
     fun() -> {ok, Started} = application:ensure_all_started(app_template), Started end,
     fun(Started) -> [ok = application:stop(App) || App <- lists:reverse(Started)] end,
     fun() ->
         ok = app_template_cart:add(<<"tea">>, 30, 2),
         ?assertEqual({error, <<"60 is more than 50">>}, app_template_cart:order(50)),
         ?assertEqual({ok, 60}, app_template_cart:order(60))
     end}.

greeting_test() ->
    ?assertEqual(<<"Hello, Ada!">>, 'Greeter':greeting(<<"Ada">>)).

%% A stack trace shows the line of the .topos file.
line_test() ->
    try 'Shop.Cart':share(1, 0) of
        _ -> error(divided)
    catch
        error:_:Stack ->
            [Place | _] = [Info || {'Shop.Cart', share, _, Info} <- Stack],
            ?assertEqual("src/Shop/Cart.topos", proplists:get_value(file, Place)),
            ?assertEqual(36, proplists:get_value(line, Place))
    end.
