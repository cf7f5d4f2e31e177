## Why a code is not let in, and what to do next

denied-malformed = Escriba el código de acceso que ha recibido.
denied-throttled = Demasiados códigos incorrectos. Espere unos minutos y vuelva a intentarlo.
denied-source-unavailable = Ahora no se puede comprobar este código. Vuelva a intentarlo en un minuto.
denied-unknown-code = Este código no existe. Compruébelo y vuelva a intentarlo.
denied-unknown-device = Este dispositivo no se conoce aquí. Escriba su código de acceso.
denied-wrong-location = Este código no es válido en este espacio. Pregunte en recepción.
denied-ambiguous-code = Este código se ha entregado dos veces. Pida otro en recepción.
denied-wrong-password = La contraseña no corresponde a este código. Escriba solo el código.
denied-not-yet-valid = Este código es válido a partir del { $from }. Vuelva a intentarlo entonces.
denied-not-yet-valid-undated = Este código todavía no es válido. Vuelva a intentarlo más tarde.
denied-expired = Este código caducó el { $to }. Pida uno nuevo en recepción.
denied-expired-undated = Este código ha caducado. Pida uno nuevo en recepción.
denied-device-mismatch = Este código es de otro dispositivo. Use ese dispositivo o pida su propio código en recepción.
denied-no-minutes-left = A este código no le queda tiempo. Pida más en recepción.
denied-user-limit-reached =
    { $limit ->
        [one] Este código se está usando en otro dispositivo. Cierre primero la sesión allí.
       *[other] Este código se está usando en { $limit } dispositivos, el máximo permitido. Cierre primero la sesión en uno de ellos.
    }

## The login page

login-code = Código de acceso
login-go = Conectarse
login-hint = Escriba el código tal como lo recibió. ¿No tiene código? Pregunte en recepción.
login-terms = Condiciones de uso
hand-over-ready = Su código es válido. Un toque más y estará en línea.
language = Idioma
login-title = Conectarse

## The status page

status-online = Conexión activa
status-offline = Sin conexión
status-time-left = Tiempo restante
status-unlimited = Sin límite
status-valid-until = Válido hasta
status-devices = Dispositivos en uso
status-devices-of = { $devices } de { $limit }
status-warning = Su tiempo se acaba en { $time }. Guarde antes su trabajo.
status-log-out = Cerrar sesión
status-continue = Continuar a { $host }

## The logout page

logout-done = Sesión cerrada
logout-kept = El tiempo que queda en su código se guarda para la próxima vez.
logout-pending = Se ha pedido a la WiFi que cierre su sesión. Puede tardar un minuto.
logout-impossible = Desde aquí no se puede cerrar la sesión de este dispositivo. Sigue conectado hasta que deje la WiFi.
logout-again = Volver a conectarse

## The error page

error-title = No ha funcionado
error-not-from-router = Esta página se debe abrir desde el inicio de sesión de la propia WiFi. Vuelva a conectarse a la WiFi.
error-unknown-router = Esta página no conoce el router de esta WiFi. Avise en recepción.
error-go-to-router = Abrir el acceso de la WiFi

## What the router says went wrong

router-timeout = La WiFi no respondió a tiempo. Vuelva a intentarlo.
router-chap-missing = El inicio de sesión no llegó a la WiFi. Vuelva a intentarlo.
router-refused = La WiFi no aceptó el inicio de sesión. Vuelva a intentarlo.

## Devices in use, and taking over a place

devices-title = Dispositivos en uso
devices-hint = Para conectarse aquí, elija un dispositivo que se desconectará.
devices-ending = Dispositivo terminado en { $end }
devices-use-here = Usar aquí en su lugar
devices-since = desde las { $time }
devices-since-date = desde el { $date }

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
duration-hours-minutes = { duration-hours } y { duration-minutes }
duration-moments = menos de 1 minuto

## Dates

time = { $clock }
date = { $day } { month } a las { time }
date-with-year = { $day } { month } de { $year } a las { time }
month =
    { $month ->
        [1] de enero
        [2] de febrero
        [3] de marzo
        [4] de abril
        [5] de mayo
        [6] de junio
        [7] de julio
        [8] de agosto
        [9] de septiembre
        [10] de octubre
        [11] de noviembre
       *[12] de diciembre
    }

## The router's own pages

page-continue = Continuar
page-javascript = Para conectarse aquí, active JavaScript en este navegador.
router-fault = La WiFi tiene una avería. Avise en recepción.
router-no-address = La WiFi no tiene ninguna dirección libre para este dispositivo. Vuelva a intentarlo en unos minutos.
router-restarting = La WiFi se está reiniciando. Vuelva a intentarlo en unos minutos.
router-devices = Este código ya se usa en todos los dispositivos que permite. Cierre antes la sesión en uno de ellos.
router-full = La WiFi no admite más dispositivos en este momento. Vuelva a intentarlo en unos minutos.
router-in-progress = El inicio de sesión aún se está comprobando. Espere un momento y vuelva a intentarlo.
