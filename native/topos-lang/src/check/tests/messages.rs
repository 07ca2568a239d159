//! `!`, `?`, `receive` and pools.

use super::errors;
use super::handlers::actor_errors;

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let head = "import Topos.Process (Process, Reply)\nshape M = Add(Int) | Get(Reply Int)\nactor A(n : Int) : M / {Process} = { | Add(_) -> () | Get(to) -> perform Process.reply(to, n) }\n";
                insta::assert_snapshot!(actor_errors(&format!("{head}{}", $source)));
            }
        )*
    };
}

rejected! {
    a_message_of_another_type = "flow f : (a : Pid M) -> () / {Process} = a ! \"text\"";
    a_message_to_no_process = "flow f : () / {Process} = 1 ! Add(1)";
    a_question_that_is_none = "flow f : (a : Pid M) -> Maybe Int / {Process} = a ? Add";
    a_question_with_its_answer = "flow f : (a : Pid M) -> Int / {Process} = a ? Get";
    a_question_with_another_time = "flow f : (a : Pid M) -> Maybe Int / {Process} = a ? Get after \"1\"";
    a_message_without_the_effect = "flow f : (a : Pid M) -> () = a ! Add(1)";
    a_receive_without_the_effect = "flow f : () -> Int = receive { | x -> x }";
    a_receive_of_two_types = "flow f : Int / {Process} = receive { | Add(k) -> k | \"x\" -> 2 }";
    a_receive_with_two_results = "flow f : Int / {Process} = receive { | Add(k) -> k after 1s -> \"late\" }";
    a_receive_with_an_arm_that_never_matches = "flow f : Int / {Process} = receive { | Add(k) -> k | Add(2) -> 2 }";
    a_receive_with_another_time = "flow f : Int / {Process} = receive { | Add(k) -> k after \"1s\" -> 2 }";
    a_pool_of_a_worker_that_runs = "supervisor S = { strategy = Process.SimpleOneForOne, child = A(1) }";
    a_pool_with_children = "supervisor S = { strategy = Process.SimpleOneForOne, children = [A(1)] }";
    a_pool_without_a_child = "supervisor S = { strategy = Process.SimpleOneForOne }";
    a_supervisor_with_a_child = "supervisor S = { strategy = Process.OneForAll, child = A }";
    a_pool_with_an_argument_of_another_type = "supervisor S = { strategy = Process.SimpleOneForOne, child = A }\nflow f = Process.start_worker(\"1\", S())";
}

#[test]
fn messages_need_the_module_of_processes() {
    insta::assert_snapshot!(errors("flow f p = p ! 1\nflow g p = p ? Some\nflow h = receive { | 1 -> 2 }"));
}
