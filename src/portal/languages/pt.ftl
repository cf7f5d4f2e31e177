# Words that both Portugal and Brazil read: "balcão" for the front desk, "dispositivo", no "você".

## Why a code is not let in, and what to do next

denied-malformed = Escreva o código de acesso que recebeu.
denied-throttled = Muitos códigos errados. Espere alguns minutos e tente novamente.
denied-source-unavailable = Não é possível verificar este código agora. Tente novamente dentro de um minuto.
denied-unknown-code = Este código não existe. Verifique-o e tente novamente.
denied-unknown-device = Este dispositivo não é conhecido aqui. Escreva o seu código de acesso.
denied-wrong-location = Este código não é válido neste local. Pergunte no balcão.
denied-ambiguous-code = Este código foi entregue duas vezes. Peça outro no balcão.
denied-wrong-password = A senha não corresponde a este código. Escreva apenas o código.
denied-not-yet-valid = Este código é válido a partir de { $from }. Tente novamente nesse momento.
denied-not-yet-valid-undated = Este código ainda não é válido. Tente novamente mais tarde.
denied-expired = Este código expirou em { $to }. Peça um novo no balcão.
denied-expired-undated = Este código expirou. Peça um novo no balcão.
denied-device-mismatch = Este código pertence a outro dispositivo. Use esse dispositivo ou peça o seu próprio código no balcão.
denied-no-minutes-left = Este código já não tem tempo. Peça mais no balcão.
denied-user-limit-reached =
    { $limit ->
        [one] Este código está em uso em outro dispositivo. Encerre primeiro a sessão nele.
       *[other] Este código está em uso em { $limit } dispositivos, o máximo permitido. Encerre primeiro a sessão em um deles.
    }

## The login page

login-code = Código de acesso
login-go = Entrar na internet
login-hint = Escreva o código exatamente como o recebeu. Não tem código? Pergunte no balcão.
login-terms = Termos de uso
hand-over-ready = O seu código é válido. Mais um toque e estará online.
language = Idioma
login-title = Ficar online

## The status page

status-online = Conexão ativa
status-offline = Sem conexão
status-time-left = Tempo restante
status-unlimited = Sem limite
status-valid-until = Válido até
status-devices = Dispositivos em uso
status-devices-of = { $devices } de { $limit }
status-warning = O seu tempo termina em { $time }. Guarde o seu trabalho antes disso.
status-log-out = Sair
status-continue = Continuar para { $host }

## The logout page

logout-done = Sessão encerrada
logout-kept = O tempo restante do seu código fica guardado para a próxima vez.
logout-pending = Foi pedido ao WiFi que termine a sua sessão. Pode demorar um minuto.
logout-impossible = Não é possível terminar a sessão deste dispositivo a partir daqui. Fica online até sair do WiFi.
logout-again = Entrar novamente

## The error page

error-title = Não funcionou
error-not-from-router = Esta página deve ser aberta a partir do login do próprio WiFi. Conecte-se novamente ao WiFi.
error-unknown-router = Esta página não conhece o router deste WiFi. Avise no balcão.
error-go-to-router = Abrir o acesso do WiFi

## What the router says went wrong

router-timeout = O WiFi não respondeu a tempo. Tente novamente.
router-chap-missing = O login não chegou ao WiFi. Tente novamente.
router-refused = O WiFi não aceitou o login. Tente novamente.

## Devices in use, and taking over a place

devices-title = Dispositivos em uso
devices-hint = Para entrar aqui, escolha um dispositivo que vai ficar offline.
devices-ending = Dispositivo terminado em { $end }
devices-use-here = Usar aqui em vez disso
devices-since = desde as { $time }
devices-since-date = desde { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } hora
       *[other] { $hours } horas
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minuto
       *[other] { $minutes } minutos
    }
duration-hours-minutes = { duration-hours } e { duration-minutes }
duration-moments = menos de 1 minuto

## Dates

time = { $clock }
date = { $day } { month } às { time }
date-with-year = { $day } { month } de { $year } às { time }
month =
    { $month ->
        [1] de janeiro
        [2] de fevereiro
        [3] de março
        [4] de abril
        [5] de maio
        [6] de junho
        [7] de julho
        [8] de agosto
        [9] de setembro
        [10] de outubro
        [11] de novembro
       *[12] de dezembro
    }

## The router's own pages

page-continue = Continuar
page-javascript = Para entrar na internet aqui, ative o JavaScript neste navegador.
router-fault = O WiFi está com uma avaria. Avise no balcão.
router-no-address = O WiFi não tem mais endereços para este dispositivo. Tente novamente dentro de alguns minutos.
router-restarting = O WiFi está a reiniciar. Tente novamente dentro de alguns minutos.
router-devices = Este código já está em uso em todos os dispositivos que permite. Saia primeiro num deles.
router-full = O WiFi não aceita mais dispositivos neste momento. Tente novamente dentro de alguns minutos.
router-in-progress = O login ainda está em verificação. Aguarde um momento e tente novamente.
